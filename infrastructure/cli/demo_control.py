"""What the page asks of a running demo: its state, and to break a part of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec

from infrastructure.cli.demo_breaks import DemoBreaks, state_of
from infrastructure.cli.demo_count import LogCount
from infrastructure.errors import UserError
from infrastructure.simulator.event_books import EventBooks

WELL_TIMEOUT_S = 5.0


class DemoControl:
    """Answers the demo's own API. ``count`` is known once the simulation runs."""

    def __init__(self, data_dir: Path, url: str) -> None:
        self.books = EventBooks()
        self.count: LogCount | None = None
        self._breaks = DemoBreaks(data_dir, _well(url))

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request of the API."""
        if request.get("do") != "break":
            position = 0 if self.count is None else self.count.position
            books = {**self.books.balance()._asdict(), "position": position}
            return {**state_of(self._breaks), "books": books}
        try:
            broken = self._breaks.begin(str(request.get("target")), str(request.get("how")))
        except UserError as error:
            return {"refused": str(error)}
        return dict(msgspec.to_builtins(broken))


def _well(url: str) -> Callable[[int], bool]:
    """Whether every stage is connected and none needs a person, as measured later than an instant (epoch ms)."""

    def is_well(after_ms: int) -> bool:
        try:
            with httpx.Client(base_url=url, timeout=WELL_TIMEOUT_S, trust_env=False) as http:
                ready = http.get("/health/ready").status_code == httpx.codes.OK
                pipeline = http.get("/pipeline").json()
                return ready and bool(pipeline.get("good")) and pipeline.get("at_ms", 0) > after_ms
        except (httpx.HTTPError, ValueError):
            return False

    return is_well
