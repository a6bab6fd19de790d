"""The aggregates accept what a simulated world sends, in the order in which it is received."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.deliveries.commands import DeliveryCommand
from domain.deliveries.decide import decide, rider_of
from domain.deliveries.delivery import Delivery
from domain.riders.rider import Rider
from infrastructure.simulator.actions import SentCommand, UploadKind
from infrastructure.simulator.receptions import receptions
from infrastructure.simulator.riders import MAX_ORDERS
from tests.unit.simulator.scenarios import busy, sent


@settings(max_examples=25)
@given(st.integers(0, 1_000))
def test_every_command_is_accepted_and_every_order_ends(seed: int) -> None:
    scenario = busy(seed)
    actions = sent(scenario)
    deliveries: dict[str, Delivery] = {}
    riders: dict[str, Rider] = {}
    recorded = repeated = most_legs = 0
    for reception in receptions(actions, scenario):
        command = reception.item
        if not isinstance(command, DeliveryCommand):
            continue
        command.check()
        delivery = deliveries.get(command.order_id)
        rider_id = rider_of(command, delivery)
        decided = decide(command, delivery, riders.get(rider_id or ""))
        deliveries[command.order_id] = decided.delivery
        if decided.rider is not None:
            riders[decided.rider.rider_id] = decided.rider
            most_legs = max(most_legs, len(decided.rider.legs))
        recorded += decided.recorded
        repeated += not decided.recorded
    assert {delivery.status for delivery in deliveries.values()} == {"completed", "cancelled"}
    assert all(not rider.legs for rider in riders.values())
    assert most_legs <= MAX_ORDERS
    kinds = Counter(action.kind is UploadKind.REPEAT for action in actions if isinstance(action, SentCommand))
    assert (recorded, repeated) == (kinds[False], kinds[True])


def test_receptions_are_in_order_and_after_what_they_report() -> None:
    scenario = busy(1)
    received = list(receptions(sent(scenario), scenario))
    assert all(before.received_ms <= after.received_ms for before, after in pairwise(received))
    for reception in received:
        item = reception.item
        if isinstance(item, DeliveryCommand):
            assert item.happened_ms <= reception.received_ms == item.received_ms
        else:
            assert item.event_timestamp_ms <= reception.received_ms == item.received_timestamp_ms
