"""``GET /verdicts``: what the audits found: parity with the log, drift, and the calibration of ETAs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec
from litestar import MediaType, get
from litestar.handlers import HTTPRouteHandler
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.http.errors import errors, unavailable
from infrastructure.http.shared_reads import SharedReads
from infrastructure.status.lines import StatusLine
from infrastructure.timestamps import now_ms
from projections.core.ports import PortUnavailable, SinkRejected

READ_INTERVAL_S: Final = 10.0
"""From the end of a tally, which reads up to a million recorded answers, to the next one (invariant 15)."""


class VerdictLine(msgspec.Struct):
    """``verdict``: what was audited. ``advice``: what to do; empty if nothing is wrong."""

    verdict: str
    state: str
    advice: str


class VerdictsAnswer(msgspec.Struct):
    """``good``: none has an advice. ``at_ms``: when they were read."""

    at_ms: int
    good: bool
    items: list[VerdictLine]


class Verdicts:
    """Reads the lines at most once in READ_INTERVAL_S, for all pages."""

    def __init__(self, read: Callable[[], list[StatusLine]], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._reads: SharedReads[VerdictsAnswer] = SharedReads(READ_INTERVAL_S, clock)

    async def newest(self) -> VerdictsAnswer:
        """Raises ApiError 503."""
        return await self._reads.get("verdicts", self._answer)

    def _answer(self) -> VerdictsAnswer:
        try:
            lines = self._read()
        except (PortUnavailable, SinkRejected, SQLAlchemyError) as error:
            detail = f"Postgres is unavailable: {str(error).splitlines()[0]}; send it again"
            raise unavailable("verdicts_unavailable", detail) from error
        items = [VerdictLine(line.stage, line.state, line.advice) for line in lines]
        return VerdictsAnswer(now_ms(), all(line.good for line in lines), items)


def verdicts_route(verdicts: Verdicts) -> HTTPRouteHandler:
    """The route."""

    @get(
        "/verdicts",
        media_type=MediaType.JSON,
        opt={"role": ("read", "metrics")},
        summary="Parity, drift and calibration, as the audits found them",
        responses=errors(503),
        tags=["health"],
    )
    async def get_verdicts() -> VerdictsAnswer:
        """The lines of `python app.py status` about answers, read again after 10 seconds: answers that differ from the
        log, features that are not as in training, and how often P90 held, which should be for 90 % of the orders."""
        return await verdicts.newest()

    return get_verdicts
