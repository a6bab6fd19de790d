"""The instants of a rule in the life of an order: a step whose time an imported history does not have has none."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from domain.deliveries.past_order import IMPORTED, UNTIMED
from infrastructure.training_sets.eta_request import EtaRequest
from infrastructure.training_sets.eta_set import EtaRule
from infrastructure.training_sets.order_life import OrderLife
from infrastructure.training_sets.order_shards import Instants
from projections.core.ports import LoggedEvent
from projections.replay.archive import TimedEvent
from projections.replay.as_of import Axis
from tests.support.worlds.order_lives import placed_data, step_data

RULE = EtaRule("at_events", events=["placed", "assigned", "picked_up"])
PLACED_MS, PICKED_UP_MS, COMPLETED_MS = 1_000_000, 1_600_000, 2_200_000


def life(axis: Axis, assigned_by: str) -> tuple[EtaRequest, OrderLife]:
    """An order whose assignment is recorded together with the pick-up."""
    steps = [
        ("DeliveryPlaced", placed_data("one", PLACED_MS)),
        ("DeliveryAssigned", {**step_data("one", PICKED_UP_MS, 1), "source_service": assigned_by}),
        ("DeliveryPickedUp", {**step_data("one", PICKED_UP_MS, 2), "source_service": IMPORTED}),
        ("DeliveryCompleted", {**step_data("one", COMPLETED_MS, 3), "source_service": IMPORTED}),
    ]
    request = EtaRequest(RULE, axis, str(UUID(int=1)), len(steps), COMPLETED_MS)
    events = [
        TimedEvent(
            LoggedEvent(number, 0, number, "one", number, kind, json.dumps(data).encode()),
            data["event_timestamp_ms"],
            data["event_timestamp_ms"],
        )
        for number, (kind, data) in enumerate(steps, start=1)
    ]
    return request, OrderLife(request, events, json.loads, frozenset())


@pytest.mark.parametrize("axis", ["position", "known", "event"])
def test_a_step_without_a_time_has_no_row_and_is_counted(axis: Axis) -> None:
    request, order = life(axis, UNTIMED)
    instants = Instants(request, None, {})
    assert [one.at_ms for one in instants.of(order)] == [PLACED_MS, PICKED_UP_MS]
    assert instants.skipped.untimed == 1


def test_by_position_a_step_with_a_time_is_seen_before_the_next_one_of_the_same_instant() -> None:
    request, order = life("position", IMPORTED)
    instants = Instants(request, None, {})
    found = list(instants.of(order))
    assert [(one.clock, one.at_ms) for one in found] == [(1, PLACED_MS), (2, PICKED_UP_MS), (3, PICKED_UP_MS)]
    assert instants.skipped.untimed == 0
    state = order.state_at(2)
    assert state is not None
    assert state.status == "assigned"
