"""The phases of a backfill of orders: read the rows, settle repeated orders, record all steps in order of reception.

Each phase holds a bounded part in memory (``external_sort``). Pings can be recorded in the same pass, since the order
of the log is that of reception across both.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from domain.deliveries.commands import DeliveryCommand
from domain.deliveries.history_batch import HistoryItem, HistoryOutcome
from domain.deliveries.past_order import (
    PastOrder,
    PastStage,
    PastStep,
    command_of,
    has_assignment,
    is_out_of_order,
    steps_of,
)
from domain.errors import DeliveryExists
from domain.riders.leg import MAX_OPEN_LEGS
from infrastructure.imports.backfill import ShowProgress
from infrastructure.imports.external_sort import ExternalSorter, SortEntry
from infrastructure.imports.order_columns import OrderFile
from infrastructure.imports.order_entries import OrderEntry, StepEntry
from infrastructure.imports.order_report import OrderReport
from infrastructure.imports.order_rows import OrderDefaults, order_rows
from infrastructure.imports.report import ImportReport

PROGRESS_INTERVAL_ROWS = 1_000


def read_orders(
    sources: Sequence[OrderFile],
    defaults: OrderDefaults,
    now_ms: int,
    sorter: ExternalSorter[OrderEntry],
    report: OrderReport,
    show: ShowProgress,
) -> int:
    """Add every valid row to ``sorter`` and every rejected row to ``report``. Returns the number of rows.

    Raises UserError if a file is damaged, OSError if the disk has no space for sorting.
    """
    count = before = done = 0

    def at_byte(position: int) -> None:
        nonlocal done
        done = before + position

    for file, source in enumerate(sources):
        for row in order_rows(source, defaults, now_ms, at_byte):
            count += 1
            if row.order is None:
                assert row.problem is not None
                report.add_rejected(row, row.problem)
            else:
                cells = tuple(cell.encode("utf-8", "surrogateescape") for cell in row.cells)
                sorter.add(OrderEntry(row.order.order_id, file, row.line, row.order, cells))
            if count % PROGRESS_INTERVAL_ROWS == 0:
                show(done, count)
        before += source.path.stat().st_size
    return count


def settle_orders(
    entries: Iterable[OrderEntry], sorter: ExternalSorter[StepEntry], report: OrderReport, show: ShowProgress
) -> int:
    """Add the steps of each order to ``sorter``. Of several rows of an order the first counts.

    Another row with the same content is a duplicate, one with other content is rejected. Returns the number of orders.
    """
    orders = 0
    first: OrderEntry | None = None
    for count, entry in enumerate(entries, 1):
        if first is not None and entry.order_id == first.order_id:
            if entry.order == first.order:
                report.add_duplicate()
            else:
                where = f"line {first.line} of {report.sources[first.file].path}"
                report.add_rejected(report.row(entry), DeliveryExists(f"{where} has this order with other content"))
            continue
        first = entry
        orders += 1
        steps = steps_of(entry.order)
        report.note(_findings(entry.order, steps))
        for step in steps:
            sorter.add(StepEntry(step.recorded_ms, entry.file, entry.line, step.stage, step, entry.order, entry.cells))
        if count % PROGRESS_INTERVAL_ROWS == 0:
            show(count, count)
    return orders


def _findings(order: PastOrder, steps: Sequence[PastStep]) -> list[str]:
    """What of an order the report counts beside its verdict."""
    stages = {step.stage: step.at_ms for step in steps}
    conditions = (
        ("out_of_order", is_out_of_order(order)),
        ("without_rider", PastStage.ASSIGN in stages and order.rider_id is None),
        ("without_assigned", PastStage.ASSIGN in stages and stages[PastStage.ASSIGN] is None),
        ("without_picked_up", PastStage.PICK_UP in stages and stages[PastStage.PICK_UP] is None),
        ("without_promise", order.promised_seconds is None),
    )
    return [name for name, applies in conditions if applies]


Record = Callable[[Sequence[HistoryItem]], list[HistoryOutcome]]


class OrderRecorder:
    """Records the steps of orders, and pings between them, in large transactions."""

    def __init__(self, record: Record, orders: OrderReport, pings: ImportReport | None) -> None:
        self._record = record
        self._orders = orders
        self._pings = pings
        self._legs = OpenOrders()

    def run(self, steps: Iterable[StepEntry], pings: Iterable[SortEntry], batch: int, show: ShowProgress) -> None:
        """Record both, each sorted already, ``batch`` items per transaction. Raises what ``record`` raises.

        After an error, the batches that are in the reports are committed, and nothing of the failed batch is.
        """
        rest: Iterator[StepEntry | SortEntry] = heapq.merge(steps, pings, key=lambda entry: entry.received_ms)
        done = 0
        while part := list(islice(rest, batch)):
            items = [entry.ping if isinstance(entry, SortEntry) else self._command(entry) for entry in part]
            outcomes = self._record(items)
            orders = [(entry, out) for entry, out in zip(part, outcomes, strict=True) if isinstance(entry, StepEntry)]
            self._orders.add_recorded(orders)
            if self._pings is not None:
                recorded = [(one, out) for one, out in zip(part, outcomes, strict=True) if isinstance(one, SortEntry)]
                self._pings.add_history(recorded)
            done += len(part)
            show(done, done)

    def _command(self, entry: StepEntry) -> DeliveryCommand:
        known = True
        if entry.stage == PastStage.ASSIGN:
            known = self._legs.assign(entry.order)
            if not known:
                self._orders.note(["rider_overloaded"])
        elif entry.stage == PastStage.END:
            self._legs.end(entry.order)
        return command_of(entry.order, entry.step, known_rider=known)


class OpenOrders:
    """Counts the open orders of each rider, so that no assignment of a history exceeds what a rider may have open.

    A rider with more orders at once is no person but a depot, or an id that several persons share.
    """

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._without: set[str] = set()

    def assign(self, order: PastOrder) -> bool:
        """Whether the order can have its rider. False: the rider has MAX_OPEN_LEGS open orders."""
        if order.rider_id is None:
            return True
        if self._open[order.rider_id] >= MAX_OPEN_LEGS:
            self._without.add(order.order_id)
            return False
        self._open[order.rider_id] += 1
        return True

    def end(self, order: PastOrder) -> None:
        """The order has ended; it may have had no assignment."""
        if order.rider_id is None or not has_assignment(order):
            return
        if order.order_id in self._without:
            self._without.remove(order.order_id)
            return
        self._open[order.rider_id] -= 1
        if not self._open[order.rider_id]:
            del self._open[order.rider_id]
