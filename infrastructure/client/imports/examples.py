"""A few of the rejected rows, to be shown to who imports."""

from __future__ import annotations

from domain.errors import TimestampInFuture, TimestampTooOld
from infrastructure.client.imports.csv_rows import Row

MOST = 3
YEAR_2000_S, YEAR_2100_S = 946_684_800, 4_102_444_800
"""Epoch seconds. Read as milliseconds they are January and February 1970, when no rider was recorded."""


class Examples:
    """The first rejected rows, in words; ``hint`` is what they have in common, "" if nothing is known."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.hint = ""

    def add(self, row: Row, code: str, detail: str) -> None:
        """One rejected row, of however many."""
        if len(self.lines) < MOST:
            self.lines.append(f"{row.source.path}, line {row.line}: {code}: {detail}")
        if code == TimestampTooOld.code and _looks_like_seconds(row.time_ms):
            self.hint = "seconds? milliseconds are expected"
        if code == TimestampInFuture.code and _looks_like_seconds(row.received_ms):
            self.hint = "reception in seconds? milliseconds are expected"


def _looks_like_seconds(value: int | None) -> bool:
    # Compared, not looked up in a range: for what is no plain int, such as None, `in range` counts through the whole
    # range without a look at signals (test_a_ping_in_the_far_future_is_rejected_at_once).
    return value is not None and YEAR_2000_S <= value < YEAR_2100_S
