"""One order along the clock of an axis: its state at any instant, what it changes in the city, and how it ended. Pure,
except for ``decode``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from domain.deliveries.past_order import UNTIMED
from domain.events.contracts import UndecodableError
from domain.features.orders import CANCELLED, COMPLETED, OPEN_STATUSES, OrderState
from domain.features.partials import PartialTable
from infrastructure.training_sets.city_changes import Change, order_changes
from infrastructure.training_sets.eta_request import EtaRequest
from infrastructure.training_sets.eta_rows import RowOutcome
from projections.core.fold import NO_SNAPSHOTS, Decode, Fold
from projections.orders import ORDERS
from projections.replay.archive import TimedEvent

_COMPLETED, _CANCELLED = "DeliveryCompleted", "DeliveryCancelled"


class OrderLabel(NamedTuple):
    """The facts of an order and how it ended, by all events of the set's log, on every axis.

    The facts are those of its placement, and known as of its first row. ``event_ms`` is when the outcome happened,
    ``known_ms`` and ``position`` when it became known. The fields are those of an EtaRow.
    """

    promised_seconds: int | None
    items: int | None
    preparation_seconds: int | None
    city: str | None
    time_zone: str
    placed_at_ms: int
    restaurant_latitude: float
    restaurant_longitude: float
    customer_latitude: float
    customer_longitude: float
    outcome: str
    event_ms: int | None
    known_ms: int | None
    position: int | None


class OrderStep(NamedTuple):
    """An event of an order on the clock of the axis. ``clock`` and times: see EtaRequest."""

    clock: int
    effective_ms: int
    timed: TimedEvent


class OrderLife:
    """All events of one order, by version. ``discarded``: positions that the fold skips."""

    def __init__(
        self, request: EtaRequest, events: Sequence[TimedEvent], decode: Decode, discarded: frozenset[int]
    ) -> None:
        self.order_id = events[0].event.key
        self._discarded = discarded
        self._decode = decode
        self._fold = Fold(ORDERS, decode, lambda: 0, NO_SNAPSHOTS)
        in_log_order = sorted(events, key=lambda one: one.event.version)
        self.steps: list[OrderStep] = []
        for timed in in_log_order:
            effective_ms = self._fold.effective_time_ms(timed.event, timed.event_ms)
            self.steps.append(OrderStep(request.clock(timed, effective_ms), effective_ms, timed))
        self._final: OrderState | None = None
        self._clocks: list[int] = []
        self._states: list[OrderState | None] = []
        self.changes: list[tuple[int, list[Change]]] = []
        """What it changes in the city, by clock."""
        if request.axis == "event":
            self._follow_event_time()
        else:
            self._follow_log()

    def state_at(self, clock: int) -> OrderState | None:
        """The open order as of ``clock``; None if there was none, or it was over."""
        place = bisect_right(self._clocks, clock)
        state = self._states[place - 1] if place else None
        return state if state is not None and state.status in OPEN_STATUSES else None

    def is_over_at(self, clock: int) -> bool:
        """Whether the order had ended by ``clock``."""
        place = bisect_right(self._clocks, clock)
        state = self._states[place - 1] if place else None
        return state is not None and state.status in {COMPLETED, CANCELLED}

    def is_untimed(self, step: OrderStep) -> bool:
        """Whether the step is of an imported order that does not have its time.

        It is in the log right before the next step, at the instant of that one. On the axis position there is a place
        between the two, at which the order would have a state that it never had then.
        """
        try:
            return self._decode(step.timed.event.payload).get("source_service") == UNTIMED
        except UndecodableError:
            return False

    def end(self) -> OrderLabel | None:
        """The facts and the outcome; None for an order that was never placed."""
        state = self._final
        if state is None or not state.status:
            return None
        outcome, event_ms, last = RowOutcome.OPEN, None, None
        if state.status == COMPLETED:
            outcome, event_ms, last = RowOutcome.COMPLETED, state.completed_ms, self._last_of(_COMPLETED)
        elif state.status == CANCELLED:
            outcome, event_ms, last = RowOutcome.CANCELLED, state.cancelled_ms, self._last_of(_CANCELLED)
        return OrderLabel(
            state.promised_seconds,
            state.items,
            state.preparation_seconds,
            state.city or None,
            state.time_zone,
            state.placed_ms,
            *state.restaurant,
            *state.customer,
            outcome,
            event_ms,
            None if last is None else last.recorded_ms,
            None if last is None else last.event.position,
        )

    def _follow_log(self) -> None:
        """One fold of each event: the clock ascends with the version."""
        state: OrderState | None = None
        for clock, _, timed in self._folding(self.steps):
            done = self._fold.run([timed.event], {self.order_id: state}.get, (), ())
            if done.parked:
                break
            state = done.states.get(self.order_id, state)
            self._clocks.append(clock)
            self._states.append(state)
            self._changed(clock, {}, done.partials)
        self._final = state

    def _follow_event_time(self) -> None:
        """A fold of all events that had happened, in log order, at each time at which one happened.

        An order has some ten events, so this costs little; it is the definition of the axis (docs/time-travel.md).
        """
        before: PartialTable = {}
        for clock, _ in groupby(sorted(self.steps, key=lambda step: step.clock), key=lambda step: step.clock):
            happened = [step.timed.event for step in self._folding(self.steps) if step.clock <= clock]
            done = self._fold.run(happened, lambda _: None, (), ())
            self._clocks.append(clock)
            self._states.append(done.states.get(self.order_id))
            self._changed(clock, before, done.partials)
            before = dict(done.partials)
        whole = self._fold.run([step.timed.event for step in self._folding(self.steps)], lambda _: None, (), ())
        self._final = whole.states.get(self.order_id)

    def _folding(self, steps: Sequence[OrderStep]) -> Iterator[OrderStep]:
        return (step for step in steps if step.timed.event.position not in self._discarded)

    def _changed(self, clock: int, before: PartialTable, after: Mapping[int, Any]) -> None:
        changes = [
            *order_changes(dict(after)),
            *((bucket, cell, *(-n for n in amounts)) for bucket, cell, *amounts in order_changes(before)),
        ]
        changes = [change for change in changes if any(change[2:])]
        if changes:
            self.changes.append((clock, changes))

    def _last_of(self, event_type: str) -> TimedEvent | None:
        found = [step.timed for step in self._folding(self.steps) if step.timed.event.event_type == event_type]
        return found[-1] if found else None
