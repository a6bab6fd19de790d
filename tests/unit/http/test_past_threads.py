"""Requests about the past wait for each other, and never for a thread that another request needs."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, NoReturn, cast

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.router import Router

from domain.features.eta.packaged import packaged_baseline
from infrastructure.eta_models.served_models import FixedModel
from infrastructure.http.analytics import analytics_router
from infrastructure.http.errors import HANDLERS
from infrastructure.http.eta import eta_route
from infrastructure.http.eta_answers import EtaAnswers, EtaReads
from infrastructure.http.speed import speed_route
from infrastructure.schema_registry.client import RegistryUnavailable
from projections.replay.as_of import Unresolvable
from read_models.view import ViewLimits

REQUESTS = 40
"""More than the loop's own executor has threads: 32 at most."""

NOTHING: Any = None


class SlowPast:
    """A past whose replays end when the test says so."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.may_end = threading.Event()

    def at(self, *_: object) -> NoReturn:
        self.began.set()
        self.may_end.wait(30)
        raise Unresolvable("log_begins_later", "the log begins later")

    of_rider = at


class WithoutRegistry:
    """A past whose events are of a schema that an external registry alone has, while that is unavailable."""

    def at(self, *_: object) -> NoReturn:
        raise RegistryUnavailable("the schema registry does not answer")

    of_rider = at


async def status_of(application: Litestar, path: str) -> int:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"position=1",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"host", b"localhost")],
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "state": {},
    }
    await cast("Any", application)(scope, receive, send)
    return int(sent[0]["status"])


def route_of(path: str, past: Any) -> HTTPRouteHandler | Router:
    if path.endswith("/eta"):
        reads = EtaReads(NOTHING, NOTHING, lambda: None, past)
        return eta_route(
            EtaAnswers(reads, FixedModel(packaged_baseline()), lambda _: None, lambda *_: None, lambda _: None)
        )
    if path.endswith("/speed"):
        return speed_route(NOTHING, past, ViewLimits(), lambda: None, lambda _: None)
    return analytics_router(NOTHING, past)


PATHS = [
    "/deliveries/order-1/eta",
    "/riders/anna/speed",
    "/analytics/riders",
    "/analytics/riders/anna",
    "/analytics/fleet",
]


@pytest.mark.parametrize("path", PATHS)
def test_replays_that_wait_leave_the_threads_to_the_health_checks(path: str) -> None:
    past = SlowPast()
    application = Litestar([route_of(path, past)], exception_handlers=HANDLERS, openapi_config=None)

    async def run() -> list[int]:
        asked = [asyncio.ensure_future(status_of(application, path)) for _ in range(REQUESTS)]
        try:
            while not past.began.is_set():
                await asyncio.sleep(0)
            # As /health/ready does: its checks would time out, and the node would be taken out of service.
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "ok"), 30) == "ok"
        finally:
            past.may_end.set()
        return await asyncio.gather(*asked)

    assert set(asyncio.run(run())) == {400}


@pytest.mark.parametrize("path", PATHS)
def test_regression_a_past_answers_503_while_the_schema_registry_is_unavailable(path: str) -> None:
    """It was 500, as if this node had a fault; `/events` answered 503."""
    application = Litestar([route_of(path, WithoutRegistry())], exception_handlers=HANDLERS, openapi_config=None)
    assert asyncio.run(status_of(application, path)) == 503
