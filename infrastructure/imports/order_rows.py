"""Turns the rows of an order history into past orders."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from domain.deliveries.past_order import PastOrder, check_commands, check_past_order
from domain.errors import DomainError, InvalidType, NullIsland, OrderWithoutEnd, StepsContradict, TimestampInFuture
from domain.timestamps import decimal_integer
from infrastructure.imports.csv_files import BadCell, check_length, number, records_below_header
from infrastructure.imports.order_columns import OrderFile
from infrastructure.imports.order_times import YEAR_2000_S, BadTime, history_time_ms

MISSING = frozenset({"", "na", "n/a", "nan", "nat", "null", "none", "\\n", "-"})
"""What exports write for no value, in lower case."""

_PAIR = re.compile(r"[\[(]?\s*([^,;\s\[\]()]+)(?:\s*[,;]\s*|\s+)([^,;\s\[\]()]+)\s*[\])]?")


class OrderDefaults(NamedTuple):
    """What holds for an order whose row does not say it. ``naive_zone`` None: times without a zone are those of its."""

    time_zone: str = "UTC"
    currency: str = "EUR"
    city: str | None = None
    naive_zone: str | None = None
    is_zone_given: bool = False
    """Whether ``time_zone`` was named by the user: only then are times without a zone taken for local ones."""


class OrderRow(NamedTuple):
    """One row: the order that it holds, or the ``problem`` for which it is rejected. ``line`` counts from 1.

    ``time_ms`` is when it was placed, None if unknown. ``received_ms`` is always None: a history does not have it.
    """

    source: OrderFile
    line: int
    cells: Sequence[str]
    order: PastOrder | None
    problem: DomainError | None = None
    time_ms: int | None = None
    received_ms: int | None = None


def order_rows(
    source: OrderFile, defaults: OrderDefaults, now_ms: int, at_byte: Callable[[int], None] = lambda position: None
) -> Iterator[OrderRow]:
    """Yield every row below the header, checked; empty lines are skipped.

    Raises UserError if the file itself is damaged.
    """
    for record in records_below_header(source, at_byte):
        if record.problem:
            yield OrderRow(source, record.first_line, (), None, InvalidType(record.problem))
        else:
            yield to_order_row(source, record.last_line, record.cells, defaults, now_ms)


def to_order_row(source: OrderFile, line: int, cells: Sequence[str], defaults: OrderDefaults, now_ms: int) -> OrderRow:
    """The row with these cells. ``now_ms`` is this machine's clock: nothing of a history happened later."""
    order: PastOrder | None = None
    try:
        check_length(cells, source.header)
        order = _Cells(source, cells).order(defaults)
        check_past_order(order)
        _check_future(order, now_ms)
        check_commands(order)
    except BadCell as error:
        return OrderRow(source, line, cells, None, InvalidType(str(error)))
    except UnicodeEncodeError:
        return OrderRow(source, line, cells, None, InvalidType("the text is not UTF-8"))
    except DomainError as error:
        return OrderRow(source, line, cells, None, error, order.placed_ms if order else None)
    return OrderRow(source, line, cells, order, None, order.placed_ms)


def _check_future(order: PastOrder, now_ms: int) -> None:
    # recorded_at must never be ahead of the clock: every live event recorded later would get that time too. No time of
    # an order is later than its end.
    if order.ended_ms > now_ms:
        end = "completed" if order.is_completed else "cancelled"
        raise TimestampInFuture(f"{end} is later than the clock of this machine")


class _Cells:
    """The cells of one row, by field."""

    def __init__(self, source: OrderFile, cells: Sequence[str]) -> None:
        self._source = source
        self._columns = source.columns
        self._cells = cells

    def order(self, defaults: OrderDefaults) -> PastOrder:
        """Raises BadCell, NullIsland, OrderWithoutEnd, StepsContradict."""
        columns = self._columns
        order_id = self._text(columns.order)
        if not order_id.strip():
            raise BadCell("order is missing")
        # Ids are compared as given; an unpaired surrogate stands for bytes that are not UTF-8.
        order_id.encode()
        time_zone = self._optional(columns.time_zone)
        zone = defaults.naive_zone or time_zone or (defaults.time_zone if defaults.is_zone_given else None)
        placed_ms = self._time(columns.placed, "placed", zone)
        if placed_ms is None:
            raise BadCell("placed is missing")
        completed_ms = self._time(columns.completed, "completed", zone)
        cancelled_ms = self._time(columns.cancelled, "cancelled", zone)
        if completed_ms is not None and cancelled_ms is not None:
            raise StepsContradict("it has both a completed and a cancelled time")
        ended_ms = cancelled_ms if completed_ms is None else completed_ms
        if ended_ms is None:
            raise OrderWithoutEnd("neither completed nor cancelled: an order without an end would stay open for ever")
        return PastOrder(
            order_id,
            self._place("restaurant", columns.restaurant, columns.restaurant_latitude, columns.restaurant_longitude),
            self._place("customer", columns.customer, columns.customer_latitude, columns.customer_longitude),
            time_zone or defaults.time_zone,
            self._optional(columns.currency) or defaults.currency,
            placed_ms,
            ended_ms,
            completed_ms is not None,
            self._time(columns.assigned, "assigned", zone),
            self._time(columns.picked_up, "picked_up", zone),
            self._time(columns.arrived, "arrived", zone),
            self._rider(columns.rider),
            self._optional(columns.city) or defaults.city,
            self._duration(columns.preparation_seconds, columns.preparation_minutes, "preparation"),
            self._promise(placed_ms, zone),
            self._integer(columns.items, "items"),
        )

    def _text(self, index: int | None) -> str:
        return self._cells[index] if index is not None and index < len(self._cells) else ""

    def _optional(self, index: int | None) -> str | None:
        if index is None or index >= len(self._cells):
            return None
        cell = self._cells[index].strip()
        return None if cell.casefold() in MISSING else cell

    def _rider(self, index: int | None) -> str | None:
        """As given, since ids are compared so. The rules of ids decide about its spaces."""
        if self._optional(index) is None:
            return None
        rider_id = self._text(index)
        rider_id.encode()
        return rider_id

    def _time(self, index: int | None, what: str, zone: str | None) -> int | None:
        cell = self._optional(index)
        if index is None or cell is None:
            return None
        try:
            return history_time_ms(cell, "UTC" if self._source.is_utc(index) else zone)
        except BadTime as error:
            raise BadCell(f"{what} cannot be used: {cell[:40]!r} ({error})") from None

    def _place(self, what: str, pair: int | None, latitude: int | None, longitude: int | None) -> tuple[float, float]:
        if pair is not None:
            cell = self._optional(pair)
            match = _PAIR.fullmatch(cell) if cell is not None and len(cell) <= 100 else None
            if cell is not None and match is None:
                raise BadCell(f"{what} is no pair of latitude and longitude such as 52.52,13.405: {cell[:40]!r}")
            degrees = [None, None] if match is None else [match[1], match[2]]
        else:
            degrees = [self._optional(latitude), self._optional(longitude)]
        if degrees[0] is None or degrees[1] is None:
            raise BadCell(f"the place of the {what} is missing: without it an order says nothing about an ETA")
        place = number(degrees[0], f"{what} latitude"), number(degrees[1], f"{what} longitude")
        if place == (0.0, 0.0):
            raise NullIsland(f"{what}: 0, 0 is what exports write for an unknown place")
        return place

    def _promise(self, placed_ms: int, zone: str | None) -> int | None:
        """Seconds from placed until the promised hand-over."""
        columns = self._columns
        index = columns.promised
        if index is None:
            return self._duration(columns.promised_seconds, columns.promised_minutes, "promised")
        cell = self._optional(index)
        if cell is None:
            return None
        try:
            seconds = number(cell, "promised")
        except BadCell:
            seconds = float(YEAR_2000_S)
        if abs(seconds) < YEAR_2000_S:
            return _whole_seconds(seconds, "promised")
        promised_ms = self._time(index, "promised", zone)
        assert promised_ms is not None
        return round((promised_ms - placed_ms) / 1_000)

    def _duration(self, seconds: int | None, minutes: int | None, what: str) -> int | None:
        cell, unit = self._optional(seconds), 1
        if seconds is None:
            cell, unit = self._optional(minutes), 60
        return None if cell is None else _whole_seconds(number(cell, what) * unit, what)

    def _integer(self, index: int | None, what: str) -> int | None:
        cell = self._optional(index)
        if cell is None:
            return None
        try:
            value = decimal_integer(cell)
        except ValueError as error:
            raise BadCell(f"{what} is not an integer: {cell[:40]!r} ({error})") from None
        if value is None:
            raise BadCell(f"{what} is not a number: {cell[:40]!r}")
        return value


def _whole_seconds(seconds: float, what: str) -> int:
    try:
        return round(seconds)
    except (ValueError, OverflowError):
        raise BadCell(f"{what} is not finite") from None
