"""How late the pipeline is, known at every moment without asking anybody: for the headers of a speed."""

from __future__ import annotations

import asyncio
import time

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.observability.stages import newest, read_stages

REFRESH_S = 1.0


class PipelineDelay:
    """The delay of one projection's stage, as it last reported; asked at most once a second, beside the reads."""

    def __init__(self, engine: Engine, stage: str) -> None:
        self._engine = engine
        self._stage = stage
        self._delay_ms: int | None = None
        self._read_at = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None

    def known_ms(self) -> int | None:
        """Milliseconds, None while it is not known. Never waits; call in the event loop."""
        if time.monotonic() - self._read_at >= REFRESH_S and self._refreshing is None:
            self._refreshing = asyncio.ensure_future(self._refresh())
        return self._delay_ms

    async def _refresh(self) -> None:
        try:
            self._delay_ms = await asyncio.to_thread(self._read)
        finally:
            self._read_at = time.monotonic()
            self._refreshing = None

    def _read(self) -> int | None:
        try:
            report = newest(read_stages(self._engine)).get(self._stage)
        except SQLAlchemyError:
            return None  # Postgres is away: nobody can say how late the pipeline is
        if report is None or not report.connected:
            return None
        # A report is up to a second old, and as long again until it is seen: not counted as delay.
        return round(report.progress.delay_s * 1000)
