"""A few of the rejected rows, to be shown to who imports."""

from __future__ import annotations

from domain.errors import TimestampInFuture, TimestampTooOld
from infrastructure.client.imports.csv_rows import Row

MOST = 3
# 2000 to 2100 in epoch seconds: read as milliseconds it is January 1970, in which no rider has been recorded.
SECONDS = range(946_684_800, 4_102_444_800)


class Examples:
    """The first rejected rows, in words; ``hint`` is what they have in common, "" if nothing is known."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.hint = ""

    def add(self, row: Row, code: str, detail: str) -> None:
        """One rejected row, of however many."""
        if len(self.lines) < MOST:
            self.lines.append(f"{row.source.path}, line {row.line}: {code}: {detail}")
        if code == TimestampTooOld.code and row.time_ms in SECONDS:
            self.hint = "seconds? milliseconds are expected"
        if code == TimestampInFuture.code and row.received_ms in SECONDS:
            self.hint = "reception in seconds? milliseconds are expected"
