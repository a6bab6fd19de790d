"""The books of an import: every row read is accepted, a duplicate or rejected for a reason."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from domain.errors import PingRejected, TimestampInFuture, TimestampTooOld
from domain.riders.ping_batch import PingOutcome
from infrastructure.client.messages import PostReceipt, Rejection
from infrastructure.errors import UserError
from infrastructure.imports.csv_reader import CsvSource, ImportRow
from infrastructure.imports.external_sort import SortEntry

UNSENDABLE = "invalid_type"
"""The code of rows that hold no ping at all, as the server would call them."""


class ImportTally:
    """Counts of one import; one thread at a time."""

    def __init__(self) -> None:
        self.rows = 0
        self.accepted = 0
        self.duplicates = 0
        self.rejected: Counter[str] = Counter()
        self.position: int | None = None

    def add(self, rows: int, receipt: PostReceipt) -> None:
        """``rows`` rows of which those in ``receipt`` were sent; the others count as UNSENDABLE."""
        self.rows += rows
        self.accepted += receipt.accepted
        self.duplicates += receipt.duplicates
        self.rejected.update(item.code for item in receipt.rejected)
        sent = receipt.accepted + receipt.duplicates + len(receipt.rejected)
        if rows > sent:
            self.rejected[UNSENDABLE] += rows - sent
        if receipt.position is not None:
            self.position = max(self.position or 0, receipt.position)

    @property
    def unaccounted(self) -> int:
        """Rows without a verdict; anything but 0 is a fault."""
        return self.rows - self.accepted - self.duplicates - self.rejected.total()

    def summary(self) -> dict[str, Any]:
        """For ``--json``. ``position``: the highest in the log of the pings recorded, None without any."""
        return {
            "rows": self.rows,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": dict(sorted(self.rejected.items())),
            "position": self.position,
        }


MAX_EXAMPLES = 3
YEAR_2000_S, YEAR_2100_S = 946_684_800, 4_102_444_800
"""Epoch seconds. Read as milliseconds they are January and February 1970, when no rider was recorded."""


class RejectExamples:
    """The first rejected rows, in words; ``hint`` is what they have in common, "" if nothing is known."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.hint = ""

    def add(self, row: ImportRow, code: str, detail: str) -> None:
        """One rejected row, of however many."""
        if len(self.lines) < MAX_EXAMPLES:
            self.lines.append(f"{row.source.path}, line {row.line}: {code}: {detail}")
        if code == TimestampTooOld.code and _looks_like_seconds(row.time_ms):
            self.hint = "seconds? milliseconds are expected"
        if code == TimestampInFuture.code and _looks_like_seconds(row.received_ms):
            self.hint = "reception in seconds? milliseconds are expected"


def _looks_like_seconds(value: int | None) -> bool:
    # Compared, not looked up in a range: for what is no plain int, such as None, `in range` counts through the whole
    # range without a look at signals (test_a_ping_in_the_far_future_is_rejected_at_once).
    return value is not None and YEAR_2000_S <= value < YEAR_2100_S


REASON = ("file", "line", "code", "detail")


class RejectFile:
    """A CSV of REASON and then the columns of all sources by name. Raises UserError if it cannot be written."""

    def __init__(self, path: Path, sources: Sequence[CsvSource]) -> None:
        for source in sources:
            if path.exists() and path.samefile(source.path):
                raise UserError(f"--rejects {path} would overwrite the file that is imported; name another")
        # Columns called like ours are those of an earlier file of rejects.
        self._titles = list(
            dict.fromkeys(title for source in sources for title in source.header if title not in REASON)
        )
        try:
            self._file = path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error}") from error
        self._writer = csv.writer(self._file)
        self._writer.writerow([*REASON, *self._titles])

    def add(self, row: ImportRow, code: str, detail: str) -> None:
        """One rejected row; cells beyond the header follow at its end."""
        header = row.source.header
        cells = dict(zip(header, row.cells, strict=False))
        extra = row.cells[len(header) :]
        self._writer.writerow(
            [row.source.path, row.line, code, detail, *(cells.get(title, "") for title in self._titles), *extra]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class ImportReport:
    """Counts, a few examples, and the file of rejected rows if one is wanted."""

    def __init__(self, sources: Sequence[CsvSource], rejects: RejectFile | None = None) -> None:
        self.tally = ImportTally()
        self.examples = RejectExamples()
        self._sources = sources
        self._rejects = rejects

    def refused(self, row: ImportRow, error: PingRejected) -> None:
        """A row that does not come as far as the log."""
        self.tally.add(1, PostReceipt(rejected=[Rejection(0, error.code, str(error))]))
        self._show(row, error)

    def recorded(self, entries: Sequence[SortEntry], outcomes: Sequence[PingOutcome]) -> None:
        """A batch and what the log made of it."""
        rejected: list[Rejection] = []
        for index, (entry, outcome) in enumerate(zip(entries, outcomes, strict=True)):
            if (error := outcome.rejection) is not None:
                rejected.append(Rejection(index, error.code, str(error)))
                self._show(self._row(entry), error)
        accepted = sum(outcome.is_new for outcome in outcomes)
        positions = [outcome.position for outcome in outcomes if outcome.position is not None]
        duplicates = len(entries) - accepted - len(rejected)
        self.tally.add(len(entries), PostReceipt(accepted, duplicates, rejected, max(positions, default=None)))

    def _show(self, row: ImportRow, error: PingRejected) -> None:
        self.examples.add(row, error.code, str(error))
        if self._rejects is not None:
            self._rejects.add(row, error.code, str(error))

    def _row(self, entry: SortEntry) -> ImportRow:
        cells = [cell.decode("utf-8", "surrogateescape") for cell in entry.cells]
        source = self._sources[entry.file]
        return ImportRow(source, entry.line, cells, None, entry.ping.event_timestamp_ms, "", entry.received_ms)
