"""``GET /verdicts``: what the audits found: parity with the log, drift, and the calibration of ETAs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec
from litestar import MediaType, get
from litestar.handlers import HTTPRouteHandler
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.http.errors import errors, unavailable
from infrastructure.status.lines import StatusLine
from infrastructure.timestamps import now_ms
from projections.core.ports import PortUnavailable, SinkRejected

READ_INTERVAL_S: Final = 10.0
"""A tally reads up to a million recorded answers: many open pages cost as much as one (invariant 15)."""


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
    """Reads the lines at most once in READ_INTERVAL_S. Blocks; safe to call in several threads."""

    def __init__(self, read: Callable[[], list[StatusLine]], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._found: VerdictsAnswer | None = None
        self._read_at = 0.0

    def newest(self) -> VerdictsAnswer:
        """Raises ApiError 503."""
        with self._lock:
            if self._found is None or self._clock() - self._read_at >= READ_INTERVAL_S:
                try:
                    lines = self._read()
                except (PortUnavailable, SinkRejected, SQLAlchemyError) as error:
                    detail = f"Postgres is unavailable: {str(error).splitlines()[0]}; send it again"
                    raise unavailable("verdicts_unavailable", detail) from error
                items = [VerdictLine(line.stage, line.state, line.advice) for line in lines]
                self._found = VerdictsAnswer(now_ms(), all(line.good for line in lines), items)
                self._read_at = self._clock()
            return self._found


def verdicts_route(verdicts: Verdicts) -> HTTPRouteHandler:
    """The route."""

    @get(
        "/verdicts",
        media_type=MediaType.JSON,
        opt={"role": ("read", "metrics")},
        sync_to_thread=True,
        summary="Parity, drift and calibration, as the audits found them",
        responses=errors(503),
        tags=["health"],
    )
    def get_verdicts() -> VerdictsAnswer:
        """The lines of `python app.py status` about answers, read again after 10 seconds: answers that differ from the
        log, features that are not as in training, and how often P90 held, which should be for 90 % of the orders."""
        return verdicts.newest()

    return get_verdicts
