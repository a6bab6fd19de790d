"""Refused requests: all counted, logged once a minute and client, within a bound of all lines."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from infrastructure.http.auth import Authorizer
from infrastructure.http.denials import LOG_INTERVAL_S, MAX_CLIENTS, MAX_LINES_PER_INTERVAL, Denials
from infrastructure.http.errors import ApiError
from infrastructure.settings.tokens import parse_tokens


class Gate:
    """A guarded route, and the clock of its log."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.guard = Denials(Authorizer(parse_tokens("read=reads,metrics=scrapes")), lambda: self.now)

    def ask(self, client: str, token: str, role: Any = "read") -> int:
        scope = {"path_template": "/riders/{rider_id:str}/speed", "path": "/riders/\x1b[2J/speed", "method": "GET"}
        connection: Any = SimpleNamespace(
            headers={"authorization": f"Bearer {token}"}, client=SimpleNamespace(host=client), scope=scope
        )
        handler: Any = SimpleNamespace(opt={"role": role})
        try:
            asyncio.run(self.guard(connection, handler))
        except ApiError as error:
            return error.status
        return 200


def denied(status: int) -> float:
    return REGISTRY.get_sample_value("ridelog_http_denied_total", {"status": str(status)}) or 0.0


def test_each_is_counted_and_one_a_minute_and_client_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    gate, before = Gate(), (denied(401), denied(403))
    with caplog.at_level(logging.WARNING, "ridelog.http"):
        assert [gate.ask("10.0.0.1", "guess") for _ in range(5)] == [401] * 5
        assert gate.ask("10.0.0.1", "scrapes") == 403
        assert gate.ask("10.0.0.2", "scrapes", ("metrics", "read")) == 200
        assert gate.ask("10.0.0.2", "scrapes") == 403
        gate.now += LOG_INTERVAL_S
        assert gate.ask("10.0.0.1", "guess") == 401
    assert (denied(401) - before[0], denied(403) - before[1]) == (6, 2)
    assert [record.getMessage() for record in caplog.records] == [
        "401 unauthorized: GET from 10.0.0.1 for /riders/{rider_id:str}/speed",
        "403 forbidden: GET from 10.0.0.2 for /riders/{rider_id:str}/speed",
        "401 unauthorized: GET from 10.0.0.1 for /riders/{rider_id:str}/speed (5 more since its last line)",
    ]


def test_invariant_15_a_client_with_many_addresses_fills_neither_memory_nor_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()
    with caplog.at_level(logging.WARNING, "ridelog.http"):
        for number in range(3 * MAX_LINES_PER_INTERVAL):
            gate.ask(f"10.0.{number // 256}.{number % 256}", "guess")
        assert len(caplog.records) == MAX_LINES_PER_INTERVAL
        for interval in range(MAX_CLIENTS // MAX_LINES_PER_INTERVAL + 2):
            gate.now += LOG_INTERVAL_S
            for number in range(MAX_LINES_PER_INTERVAL):
                gate.ask(f"10.1.{interval}.{number}", "guess")
    assert len(gate.guard._clients) == MAX_CLIENTS


def test_an_answer_names_the_roles_and_never_the_token() -> None:
    guard = Authorizer(parse_tokens("read+dispatch=hunter2"))
    connection: Any = SimpleNamespace(headers={"authorization": "Bearer hunter2"})
    with pytest.raises(ApiError) as refused:
        guard(connection, SimpleNamespace(opt={"role": ("metrics", "review")}))  # type: ignore[arg-type]
    assert str(refused.value) == "this token has role dispatch and read; metrics or review is needed"
