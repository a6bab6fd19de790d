"""The books of a backfill: each row read gets its one verdict, in whichever phase it falls."""

from __future__ import annotations

from collections.abc import Sequence

from domain.errors import PingRejected
from domain.ping_decisions import PingOutcome
from infrastructure.backfill.runs import Entry
from infrastructure.client.imports.csv_rows import Row, Source
from infrastructure.client.imports.examples import Examples
from infrastructure.client.imports.rejects import Rejects
from infrastructure.client.imports.tally import Tally
from infrastructure.client.receipts import Receipt, Rejection


class Books:
    """Counts, a few examples, and the file of rejected rows if one is wanted."""

    def __init__(self, sources: Sequence[Source], rejects: Rejects | None = None) -> None:
        self.tally = Tally()
        self.examples = Examples()
        self._sources = sources
        self._rejects = rejects

    def refused(self, row: Row, error: PingRejected) -> None:
        """A row that does not come as far as the log."""
        self.tally.add(1, Receipt(rejected=[Rejection(0, error.code, str(error))]))
        self._show(row, error)

    def recorded(self, entries: Sequence[Entry], outcomes: Sequence[PingOutcome]) -> None:
        """A batch and what the log made of it."""
        rejected: list[Rejection] = []
        for index, (entry, outcome) in enumerate(zip(entries, outcomes, strict=True)):
            if (error := outcome.rejection) is not None:
                rejected.append(Rejection(index, error.code, str(error)))
                self._show(self._row(entry), error)
        accepted = sum(outcome.is_new for outcome in outcomes)
        positions = [outcome.position for outcome in outcomes if outcome.position is not None]
        duplicates = len(entries) - accepted - len(rejected)
        self.tally.add(len(entries), Receipt(accepted, duplicates, rejected, max(positions, default=None)))

    def _show(self, row: Row, error: PingRejected) -> None:
        self.examples.add(row, error.code, str(error))
        if self._rejects is not None:
            self._rejects.add(row, error.code, str(error))

    def _row(self, entry: Entry) -> Row:
        cells = [cell.decode("utf-8", "surrogateescape") for cell in entry.cells]
        source = self._sources[entry.file]
        return Row(source, entry.line, cells, None, entry.ping.event_timestamp_ms, "", entry.received_ms)
