"""Denied requests: all are counted, and logged once a minute for each client, with a bound on all lines."""

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


class GuardedRoute:
    """A guarded route with a fake clock."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.guard = Denials(Authorizer(parse_tokens("read=reads,metrics=scrapes")), lambda: self.now)

    def request(self, client: str, token: str, role: Any = "read") -> int:
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


def test_each_denial_is_counted_and_one_a_minute_is_logged_for_each_client(caplog: pytest.LogCaptureFixture) -> None:
    route, before = GuardedRoute(), (denied(401), denied(403))
    with caplog.at_level(logging.WARNING, "ridelog.http"):
        assert [route.request("10.0.0.1", "guess") for _ in range(5)] == [401] * 5
        assert route.request("10.0.0.1", "scrapes") == 403
        assert route.request("10.0.0.2", "scrapes", ("metrics", "read")) == 200
        assert route.request("10.0.0.2", "scrapes") == 403
        route.now += LOG_INTERVAL_S
        assert route.request("10.0.0.1", "guess") == 401
    assert (denied(401) - before[0], denied(403) - before[1]) == (6, 2)
    assert [record.getMessage() for record in caplog.records] == [
        "401 unauthorized: GET from 10.0.0.1 for /riders/{rider_id:str}/speed",
        "403 forbidden: GET from 10.0.0.2 for /riders/{rider_id:str}/speed",
        "401 unauthorized: GET from 10.0.0.1 for /riders/{rider_id:str}/speed (5 more since its last line)",
    ]


def test_invariant_15_a_client_with_many_addresses_fills_neither_memory_nor_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    route = GuardedRoute()
    with caplog.at_level(logging.WARNING, "ridelog.http"):
        for number in range(3 * MAX_LINES_PER_INTERVAL):
            route.request(f"10.0.{number // 256}.{number % 256}", "guess")
        assert len(caplog.records) == MAX_LINES_PER_INTERVAL
        for interval in range(MAX_CLIENTS // MAX_LINES_PER_INTERVAL + 2):
            route.now += LOG_INTERVAL_S
            for number in range(MAX_LINES_PER_INTERVAL):
                route.request(f"10.1.{interval}.{number}", "guess")
    assert len(route.guard._clients) == MAX_CLIENTS


def test_an_answer_names_the_roles_and_never_the_token() -> None:
    guard = Authorizer(parse_tokens("read+dispatch=hunter2"))
    connection: Any = SimpleNamespace(headers={"authorization": "Bearer hunter2"})
    with pytest.raises(ApiError) as error:
        asyncio.run(guard(connection, SimpleNamespace(opt={"role": ("metrics", "review")})))  # type: ignore[arg-type]
    assert str(error.value) == "this token has role dispatch and read; metrics or review is needed"
