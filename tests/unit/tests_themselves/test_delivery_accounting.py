"""The accounting of commands finds each fault that it is for: lost, doubled, unasked, disagreeing aggregates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest

from domain.identifiers import aggregate_id
from infrastructure.event_store.aggregates import LogEvent
from tests.support.worlds.delivery_accounting import SentCommand, account_for_commands, disagreeing_riders
from tests.support.worlds.delivery_history import check_history

STEPS = {
    "DeliveryPlaced": "place",
    "DeliveryAssigned": "assign",
    "DeliveryPickedUp": "pickup",
    "DeliveryArrived": "arrive",
    "DeliveryCompleted": "complete",
}
LEGS = {
    "DeliveryAssigned": [("LegStarted", "to_restaurant")],
    "DeliveryPickedUp": [("LegEnded", "to_restaurant"), ("LegStarted", "to_customer")],
    "DeliveryCompleted": [("LegEnded", "to_customer")],
}


class Log:
    """The log of one order and its rider, event by event."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []
        self._versions: dict[UUID, int] = {}

    def add(self, kind: str, name: str, event_type: str, command_id: str, **data: Any) -> UUID:
        aggregate, event_id = aggregate_id(kind, name), UUID(int=len(self.events) + 1)
        version = self._versions[aggregate] = self._versions.get(aggregate, 0) + 1
        cause = data.get("caused_by")
        payload = json.dumps({"event_timestamp_ms": 1_000 * event_id.int, "command_id": command_id, **data}).encode()
        self.events.append(
            LogEvent(
                aggregate, version, event_type, payload, kind, name, event_id, 0,
                command_id=command_id, caused_by=UUID(cause) if cause else None,
            )
        )  # fmt: skip
        return event_id

    def step(self, event_type: str, command_id: str, legs: list[tuple[str, str]] | None = None) -> None:
        event_id = self.add("Delivery", "order-1", event_type, command_id, rider_id="anna")
        for leg_type, leg in LEGS.get(event_type, []) if legs is None else legs:
            facts = {"order_id": "order-1", "leg": leg, "caused_by": str(event_id)}
            if leg_type == "LegEnded":
                facts["outcome"] = "completed"
            self.add("Rider", "anna", leg_type, command_id, **facts)


def decode(payload: bytes) -> Mapping[str, Any]:
    found: dict[str, Any] = json.loads(payload)
    return found


def lived(*, until: str = "DeliveryCompleted") -> Log:
    log = Log()
    for event_type, verb in STEPS.items():
        log.step(event_type, f"key-{verb}")
        if event_type == until:
            break
    return log


def sent(*, but: str = "", **changes: Any) -> list[SentCommand]:
    """All commands of the order, answered once; ``changes`` are those of the command ``but``."""
    found = [SentCommand("order-1", verb, f"key-{verb}", answered=True, recorded=1) for verb in STEPS.values()]
    return [each._replace(**changes) if each.verb == but else each for each in found]


def test_a_life_without_a_fault_passes_and_says_where_the_order_is() -> None:
    found = account_for_commands(sent(), lived().events, decode)
    order = found.orders["order-1"]
    assert (order.status, order.rider_id, order.version) == ("completed", "anna", 5)
    assert order.times_ms == {
        "placed": 1_000, "assigned": 2_000, "picked_up": 4_000, "arrived": 7_000, "completed": 8_000
    }  # fmt: skip
    assert found.legs == {"anna": set()}


def test_an_unanswered_command_may_be_in_the_log_or_not() -> None:
    unanswered = sent(but="complete", answered=False, recorded=0)
    assert account_for_commands(unanswered, lived().events, decode).orders["order-1"].status == "completed"
    arrived = lived(until="DeliveryArrived")
    assert account_for_commands(unanswered, arrived.events, decode).orders["order-1"].status == "arrived"


def test_a_lost_command_is_found() -> None:
    with pytest.raises(AssertionError, match=r"lost \[\('order-1', 'complete', 'key-complete'\)\]"):
        account_for_commands(sent(), lived(until="DeliveryArrived").events, decode)


def test_a_command_that_is_recorded_twice_is_found() -> None:
    log = lived(until="DeliveryAssigned")
    log.step("DeliveryUnassigned", "key-unassign", [("LegEnded", "to_restaurant")])
    log.step("DeliveryAssigned", "key-assign")
    with pytest.raises(AssertionError):
        account_for_commands(sent(), log.events, decode)


def test_a_command_that_two_answers_call_new_is_found() -> None:
    with pytest.raises(AssertionError, match=r"doubled \[\('order-1', 'pickup', 'key-pickup'\)\]"):
        account_for_commands(sent(but="pickup", recorded=2), lived().events, decode)


def test_a_step_that_no_client_asked_for_is_found() -> None:
    with pytest.raises(AssertionError, match=r"unasked \[\('order-1', 'arrive', 'key-arrive'\)\]"):
        account_for_commands(sent(but="arrive", order_id="order-2", answered=False), lived().events, decode)


@pytest.mark.parametrize(
    "legs",
    [[], [("LegEnded", "to_restaurant")], [("LegStarted", "to_customer")]],
    ids=["no leg changes", "none starts", "none ends"],
)
def test_aggregates_that_disagree_about_a_leg_are_found(legs: list[tuple[str, str]]) -> None:
    log = lived(until="DeliveryAssigned")
    log.step("DeliveryPickedUp", "key-pickup", legs)
    with pytest.raises(AssertionError):
        account_for_commands(sent(but="complete", answered=False)[:3], log.events, decode)


def test_a_rider_with_a_leg_of_no_order_disagrees() -> None:
    found = account_for_commands(sent(), lived().events, decode)
    assert disagreeing_riders(found) == []
    found.legs["anna"].add(("order-1", "to_customer"))
    found.orders["order-2"] = lived_order = type(found.orders["order-1"])()
    lived_order.status, lived_order.rider_id = "assigned", "ben"
    assert disagreeing_riders(found) == ["anna", "ben"]


def test_events_of_serving_are_passed_over() -> None:
    log = Log()
    for event_type, verb in STEPS.items():
        log.step(event_type, f"key-{verb}")
        log.add("Delivery", "order-1", "EtaServed", f"eta-{verb}", leg=f"leg-{verb}", at_ms=1)
    found = account_for_commands(sent(), log.events, decode)
    assert (found.orders["order-1"].status, found.orders["order-1"].version) == ("completed", 9)


def test_a_second_first_eta_of_a_leg_is_found() -> None:
    log = Log()
    log.step("DeliveryPlaced", "key-place")
    for command in ("eta-1", "eta-2"):
        log.add("Delivery", "order-1", "EtaServed", command, leg="unassigned", at_ms=1)
    with pytest.raises(AssertionError, match="a second ETA of one leg"):
        check_history(log.events, decode)
