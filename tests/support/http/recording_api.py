"""The API with an event store that records everything at once, for tests that speak raw HTTP to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from litestar import Litestar

from domain.gps_ping import GpsPing
from domain.riders.application import PingOutcome
from infrastructure.http.application import ApiParts, build
from infrastructure.settings.settings import Settings
from tests.support.http.wire import Answer, Wire


class RecordingApi:
    """``recorded``: all pings that were posted to it."""

    def __init__(self) -> None:
        self.recorded: list[GpsPing] = []

    def application(self, *routes: Any) -> Litestar:
        """The API, with further routes."""
        absent = cast("Any", None)  # no test with this API reads a speed
        parts = ApiParts(self._submit, absent, absent, lambda: None, lambda _read: None, {}, _refresh_nothing)
        application = build(Settings(), parts)
        for route in routes:
            application.register(route)
        return application

    async def _submit(self, pings: Sequence[GpsPing]) -> list[PingOutcome]:
        self.recorded.extend(pings)
        return [PingOutcome(position, is_new=True) for position, _ in enumerate(pings, start=1)]


async def _refresh_nothing() -> None:
    """No gauge needs a refresh."""


def next_answer(wire: Wire, *, expects_100: bool = False) -> Answer:
    """The next response, without a 100 Continue unless ``expects_100``."""
    answer = wire.answer()
    if answer is not None and answer.status == 100 and not expects_100:
        answer = wire.answer()
    assert answer is not None, "the server has closed"
    return answer
