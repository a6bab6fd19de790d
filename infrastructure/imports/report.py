"""Accounts for every row of an import: accepted, duplicate, or rejected with a reason.

A rejected row is counted by its code, shown as one of a few examples, and written to the file of rejected rows, which
can be corrected and imported again. In a backfill, each row gets exactly one verdict, in the phase that decides it.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from domain.deliveries.history_batch import HistoryOutcome
from domain.errors import DomainError, TimestampInFuture, TimestampTooOld
from domain.riders.ping_batch import PingOutcome
from infrastructure.client.messages import PostReceipt, Rejection
from infrastructure.errors import UserError
from infrastructure.imports.csv_files import ImportedFile
from infrastructure.imports.csv_reader import CsvSource, ImportRow
from infrastructure.imports.external_sort import SortEntry
from infrastructure.imports.spreadsheet_cells import REASON, shown_cell
from infrastructure.replay.whole_files import GrowingExport

UNSENDABLE = "invalid_type"
"""The code of rows that hold no valid ping: the code that the server would use."""


class ReportedRow(Protocol):
    """A row of any imported file. ``line``: the last of the row's lines, from 1. Epoch milliseconds; None = unknown."""

    @property
    def source(self) -> ImportedFile: ...
    @property
    def line(self) -> int: ...
    @property
    def cells(self) -> Sequence[str]: ...
    @property
    def time_ms(self) -> int | None: ...
    @property
    def received_ms(self) -> int | None: ...


class ImportTally:
    """The counts of one import. Not safe to share between threads."""

    def __init__(self) -> None:
        self.rows = 0
        self.accepted = 0
        self.duplicates = 0
        self.rejected: Counter[str] = Counter()
        self.position: int | None = None

    def add(self, rows: int, receipt: PostReceipt) -> None:
        """Count ``rows`` rows. Those that ``receipt`` does not cover were not sent and count as UNSENDABLE."""
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
        """The number of rows without a verdict; anything but 0 is a defect."""
        return self.rows - self.accepted - self.duplicates - self.rejected.total()

    def summary(self) -> dict[str, Any]:
        """The counts for ``--json``. ``position`` is the highest log position of a recorded ping; None without any."""
        return {
            "rows": self.rows,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": dict(sorted(self.rejected.items())),
            "position": self.position,
        }


MAX_EXAMPLES = 3
YEAR_2000_S, YEAR_2100_S = 946_684_800, 4_102_444_800
"""Epoch seconds. Read as milliseconds they mean January and February 1970, when no ping was recorded."""


class RejectExamples:
    """The first few rejected rows, as messages. ``hint`` names their likely common cause, "" if none is known."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.hint = ""

    def add(self, row: ReportedRow, code: str, detail: str) -> None:
        """Add a rejected row. Only the first MAX_EXAMPLES become messages; all of them can set the hint."""
        if len(self.lines) < MAX_EXAMPLES:
            self.lines.append(f"{row.source.path}, line {row.line}: {code}: {detail}")
        if code == TimestampTooOld.code and _looks_like_seconds(row.time_ms):
            self.hint = "seconds? milliseconds are expected"
        if code == TimestampInFuture.code and _looks_like_seconds(row.received_ms):
            self.hint = "reception in seconds? milliseconds are expected"


def _looks_like_seconds(value: int | None) -> bool:
    # A comparison, not `in range(…)`: for a value that is not a plain int, such as None, `in range` iterates over the
    # whole range and cannot be interrupted (test_a_ping_in_the_far_future_is_rejected_at_once).
    return value is not None and YEAR_2000_S <= value < YEAR_2100_S


class RejectFile:
    """A CSV file of rejected rows: the columns of REASON, then the columns of all sources by name.

    No cell is a formula in a spreadsheet, where the file is corrected (``spreadsheet_cells``). The file has its name
    once the import has ended.

    Raises UserError if the file cannot be written, or is one of the imported files.
    """

    def __init__(self, path: Path, sources: Sequence[ImportedFile]) -> None:
        for source in sources:
            if path.exists() and path.samefile(source.path):
                raise UserError(f"--rejects {path} would overwrite an imported file; name another file")
        self._path = path
        # Columns with our names come from an earlier file of rejected rows that is imported again.
        self._titles = list(
            dict.fromkeys(title for source in sources for title in source.header if title not in REASON)
        )
        try:
            self._export = GrowingExport(path, errors="surrogateescape")
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error}") from error
        self._writer = csv.writer(self._export.text)
        self._write([*REASON, *self._titles])

    def add(self, row: ReportedRow, code: str, detail: str) -> None:
        """Write a rejected row; cells beyond the header follow at its end. Raises UserError."""
        header = row.source.header
        cells = dict(zip(header, row.cells, strict=False))
        extra = row.cells[len(header) :]
        self._write(
            [str(row.source.path), row.line, code, detail, *(cells.get(title, "") for title in self._titles), *extra]
        )

    def abandon(self) -> None:
        """Leave no file of an import that did not read all rows: it looks like the file of one that did."""
        self._export.abandon()

    def _write(self, cells: Sequence[object]) -> None:
        try:
            self._writer.writerow(map(shown_cell, cells))
        except OSError as error:
            raise self._incomplete(error) from error

    def _incomplete(self, error: OSError) -> UserError:
        # A full disk here must not pass for one where rows are sorted: each has its own advice.
        return UserError(
            f"{self._path} cannot be written: {error}; repeat the import with another --rejects, nothing is recorded "
            "twice"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            # An import that has failed already is reported with its own error.
            self.abandon()
            return
        try:
            self._export.finish()
        except OSError as failure:
            raise self._incomplete(failure) from failure


class ImportReport:
    """The counts of a backfill, a few examples, and the file of rejected rows if one is wanted."""

    def __init__(self, sources: Sequence[CsvSource], rejects: RejectFile | None = None) -> None:
        self.tally = ImportTally()
        self.examples = RejectExamples()
        self._sources = sources
        self._rejects = rejects

    def add_rejected(self, row: ReportedRow, error: DomainError) -> None:
        """Account for a row that was rejected before it reached the log."""
        self.tally.add(1, PostReceipt(rejected=[Rejection(0, error.code, str(error))]))
        self._show(row, error)

    def add_recorded(self, entries: Sequence[SortEntry], outcomes: Sequence[PingOutcome]) -> None:
        """Account for a batch by the outcome of each of its pings."""
        rejected: list[Rejection] = []
        for index, (entry, outcome) in enumerate(zip(entries, outcomes, strict=True)):
            if (error := outcome.rejection) is not None:
                rejected.append(Rejection(index, error.code, str(error)))
                self._show(self._row(entry), error)
        accepted = sum(outcome.is_new for outcome in outcomes)
        positions = [outcome.position for outcome in outcomes if outcome.position is not None]
        duplicates = len(entries) - accepted - len(rejected)
        self.tally.add(len(entries), PostReceipt(accepted, duplicates, rejected, max(positions, default=None)))

    def add_history(self, recorded: Sequence[tuple[SortEntry, HistoryOutcome]]) -> None:
        """Account for pings that were recorded together with deliveries."""
        for entry, (is_new, rejection) in recorded:
            if rejection is not None:
                self.add_rejected(self._row(entry), rejection)
            else:
                self.tally.add(1, PostReceipt(int(is_new), int(not is_new)))

    def _show(self, row: ReportedRow, error: DomainError) -> None:
        self.examples.add(row, error.code, str(error))
        if self._rejects is not None:
            self._rejects.add(row, error.code, str(error))

    def _row(self, entry: SortEntry) -> ImportRow:
        cells = [cell.decode("utf-8", "surrogateescape") for cell in entry.cells]
        source = self._sources[entry.file]
        return ImportRow(source, entry.line, cells, None, entry.ping.event_timestamp_ms, "", entry.received_ms)
