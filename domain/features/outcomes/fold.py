"""The fold of an order's outcome: each event says what it adds to the sums by hour, by place and by rider.

An order counts when it ends, with what its events say by then. An event that is recorded after the end, such as
the first ETA that was answered just before it, changes what the order has added: the sums are always those of the order
as it is known now.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from uuid import UUID

from domain.features.event_time import effective_time_ms
from domain.features.keyed_event import KeyedEvent
from domain.features.orders import (
    ARRIVED,
    ASSIGNED,
    CANCELLED,
    COMPLETED,
    PICKED_UP,
    PLACED,
    STEP_TYPES,
    MissingPlacement,
)
from domain.features.outcomes.sums import (
    HOUR_MS,
    UNASSIGNED,
    FirstEta,
    OrderTimes,
    OutcomeChange,
    difference,
    of_cancelled,
    of_completed,
    place_id,
)
from domain.features.partials import MAX_AMOUNT


class OrderOutcome(NamedTuple):
    """One order after ``version`` events. Effective times in epoch milliseconds; None: it has not happened.

    ``place``: of the restaurant (``place_id``). ``changes``: what the last event adds; not part of the stored state.
    """

    version: int = 0
    position: int = 0
    status: str = ""
    rider_id: str | None = None
    place: str = ""
    placed_ms: int = 0
    assigned_ms: int | None = None
    picked_up_ms: int | None = None
    arrived_ms: int | None = None
    ended_ms: int | None = None
    promised_seconds: int | None = None
    eta: FirstEta | None = None
    changes: tuple[OutcomeChange, ...] = ()


EMPTY = OrderOutcome()
_ETA: Final = "EtaServed"


def fold(state: OrderOutcome, event: KeyedEvent) -> OrderOutcome:
    """The state after one more event of the order's stream; pure.

    Raises:
        MissingPlacement: the first event of the order is another one than its placement.
        ValueError: the event adds an amount that no order has (invariant 16).
    """
    _, version, position, event_type, data = event
    before = state._replace(version=version, position=position, changes=())
    if event_type == "DeliveryPlaced":
        place = place_id(data["restaurant_latitude"], data["restaurant_longitude"])
        placed_ms, promised = effective_time_ms(data), data["promised_seconds"]
        after = before._replace(status=PLACED, place=place, placed_ms=placed_ms, promised_seconds=promised)
    elif not state.status:
        raise MissingPlacement(f"{event_type} is the first event of the order")
    elif event_type == _ETA:
        # The contract has whole milliseconds as seconds with three decimals.
        p50_ms, p90_ms = round(data["p50_seconds"] * 1_000), round(data["p90_seconds"] * 1_000)
        eta = FirstEta(effective_time_ms(data), UUID(data["event_id"]).bytes, p50_ms, p90_ms)
        after = before._replace(eta=eta if state.eta is None else min(state.eta, eta))
    elif event_type in STEP_TYPES:
        after = _after_step(before, event_type, effective_time_ms(data), data["rider_id"])
    else:
        return before
    changes = difference(_ended(before), _ended(after))
    if event_type == "DeliveryUnassigned":
        hour = effective_time_ms(data) // HOUR_MS
        changes.append(OutcomeChange(hour, state.place, state.rider_id, UNASSIGNED))
    return after._replace(changes=tuple(map(_checked, changes)))


def _after_step(state: OrderOutcome, event_type: str, at_ms: int, rider_id: str) -> OrderOutcome:
    if event_type == "DeliveryAssigned":
        return state._replace(status=ASSIGNED, rider_id=rider_id, assigned_ms=at_ms)
    if event_type == "DeliveryUnassigned":
        return state._replace(status=PLACED, rider_id=None, assigned_ms=None)
    if event_type == "DeliveryPickedUp":
        return state._replace(status=PICKED_UP, picked_up_ms=at_ms)
    if event_type == "DeliveryArrived":
        return state._replace(status=ARRIVED, arrived_ms=at_ms)
    return state._replace(status=COMPLETED if event_type == "DeliveryCompleted" else CANCELLED, ended_ms=at_ms)


def _checked(change: OutcomeChange) -> OutcomeChange:
    # The orders of an hour share a row: one forged time must not make its sum too large for those of all others.
    if max(change.sums) > MAX_AMOUNT or min(change.sums) < -MAX_AMOUNT:
        raise ValueError(f"an outcome of more than ±{MAX_AMOUNT} ms is impossible")
    return change


def _ended(state: OrderOutcome) -> OutcomeChange | None:
    """What the order adds as it is known now; None while it is open."""
    if state.ended_ms is None or state.status not in {COMPLETED, CANCELLED}:
        return None
    times = OrderTimes(state.placed_ms, state.assigned_ms, state.picked_up_ms, state.arrived_ms, state.ended_ms)
    is_completed = state.status == COMPLETED
    sums = of_completed(times, state.promised_seconds, state.eta) if is_completed else of_cancelled(times)
    return OutcomeChange(state.ended_ms // HOUR_MS, state.place, state.rider_id, sums)
