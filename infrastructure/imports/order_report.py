"""Accounts for every row of an import of orders: accepted, duplicate, or rejected; and what the orders lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from domain.deliveries.history_batch import HistoryOutcome
from domain.deliveries.past_order import PastStage
from domain.errors import DomainError
from infrastructure.client.messages import PostReceipt, Rejection
from infrastructure.imports.order_columns import OrderFile
from infrastructure.imports.order_entries import OrderEntry, StepEntry
from infrastructure.imports.order_rows import OrderRow
from infrastructure.imports.report import ImportTally, RejectExamples, RejectFile, ReportedRow

FINDINGS: Mapping[str, str] = {
    "out_of_order": "orders with a stage earlier than one before it (recorded so, and flagged)",
    "without_rider": "orders without a rider: each has one of its own, unknown:<order>",
    "without_assigned": "orders without an assigned time: unassigned until the next known stage",
    "without_picked_up": "orders without a picked_up time: not picked up until the next known stage",
    "without_promise": "orders without a promise",
    "rider_overloaded": "orders whose rider has 20 others open: recorded with unknown:<order>",
}
"""What the report counts of orders that are not rejected, and what it means."""


class OrderReport:
    """The counts of an import of orders, a few examples, and the file of rejected rows if one is wanted.

    A row gets its verdict with its last step, so the rows of open orders are in memory: as many as were open at once.
    """

    def __init__(self, sources: Sequence[OrderFile], rejects: RejectFile | None = None) -> None:
        self.sources = sources
        self.tally = ImportTally()
        self.examples = RejectExamples()
        self.findings: Counter[str] = Counter()
        self._rejects = rejects
        self._open: dict[tuple[int, int], HistoryOutcome] = {}

    def add_rejected(self, row: ReportedRow, error: DomainError) -> None:
        """Account for a row that was rejected before any of it reached the log."""
        self.tally.add(1, PostReceipt(rejected=[Rejection(0, error.code, str(error))]))
        self._show(row, error)

    def add_duplicate(self) -> None:
        """Account for a row whose order an earlier row has with the same content."""
        self.tally.add(1, PostReceipt(duplicates=1))

    def add_acceptable(self, count: int) -> None:
        """Account for rows that would be recorded."""
        self.tally.add(count, PostReceipt(accepted=count))

    def note(self, findings: Iterable[str]) -> None:
        """Count what an order lacks, by the keys of FINDINGS."""
        self.findings.update(findings)

    def add_recorded(self, steps: Iterable[tuple[StepEntry, HistoryOutcome]]) -> None:
        """Account for recorded steps, those of an order in their order.

        A row is a duplicate if its placement was recorded before, and rejected if one of its steps is.
        """
        for entry, outcome in steps:
            key = (entry.file, entry.line)
            first = self._open.get(key, outcome)
            verdict = first if first.rejection is not None or outcome.rejection is None else outcome
            if entry.stage != PastStage.END:
                self._open[key] = verdict
                continue
            self._open.pop(key, None)
            if verdict.rejection is not None:
                self.add_rejected(self.row(entry), verdict.rejection)
            else:
                self.tally.add(1, PostReceipt(int(verdict.is_new), int(not verdict.is_new)))

    def row(self, entry: OrderEntry | StepEntry) -> OrderRow:
        """The row that an entry was read from."""
        cells = [cell.decode("utf-8", "surrogateescape") for cell in entry.cells]
        return OrderRow(self.sources[entry.file], entry.line, cells, entry.order, None, entry.order.placed_ms)

    def summary(self) -> dict[str, Any]:
        """The counts for ``--json``."""
        return self.tally.summary() | {"findings": {name: self.findings[name] for name in FINDINGS}}

    def _show(self, row: ReportedRow, error: DomainError) -> None:
        self.examples.add(row, error.code, str(error))
        if self._rejects is not None:
            self._rejects.add(row, error.code, str(error))
