"""The Delivery aggregate in given/when/then: every transition that is allowed, and every one that is refused."""

from __future__ import annotations

from dataclasses import asdict, astuple
from typing import Any

import pytest

from domain.deliveries.delivery import Delivery
from domain.deliveries.events import DeliveryEvent
from domain.errors import (
    DomainError,
    LegNotStarted,
    OtherRider,
    TooManyLegs,
    UnknownDelivery,
    UnreadableDelivery,
    WrongStatus,
)
from domain.identifiers import aggregate_id
from domain.riders.events import RiderEvent
from domain.riders.leg import LegOutcome
from domain.riders.rider import Rider
from tests.unit.domain.given import NOW_MS
from tests.unit.domain.given_delivery import CUSTOMER, RESTAURANT, VERBS, GivenDelivery, World, a_step, an_order

REGISTERED, STARTED, ENDED = Rider.Registered, Rider.LegStarted, Rider.LegEnded
TO_ASSIGNED = ("assign",)
TO_PICKED_UP = ("assign", "pickup")
TO_ARRIVED = ("assign", "pickup", "arrive")
PATHS: dict[str, tuple[str, ...]] = {
    "placed": (),
    "assigned": TO_ASSIGNED,
    "picked_up": TO_PICKED_UP,
    "arrived": TO_ARRIVED,
    "completed": (*TO_ARRIVED, "complete"),
    "cancelled": ("cancel",),
}
ALLOWED: dict[tuple[str, str], tuple[type[DeliveryEvent], *tuple[type[RiderEvent], ...]]] = {
    ("placed", "assign"): (Delivery.Assigned, REGISTERED, STARTED),
    ("placed", "cancel"): (Delivery.Cancelled,),
    ("assigned", "unassign"): (Delivery.Unassigned, ENDED),
    ("assigned", "pickup"): (Delivery.PickedUp, ENDED, STARTED),
    ("assigned", "cancel"): (Delivery.Cancelled, ENDED),
    ("picked_up", "arrive"): (Delivery.Arrived,),
    ("picked_up", "complete"): (Delivery.Completed, ENDED),
    ("picked_up", "cancel"): (Delivery.Cancelled, ENDED),
    ("arrived", "complete"): (Delivery.Completed, ENDED),
    ("arrived", "cancel"): (Delivery.Cancelled, ENDED),
}
STATUS_AFTER = {
    "assign": "assigned",
    "unassign": "placed",
    "pickup": "picked_up",
    "arrive": "arrived",
    "complete": "completed",
    "cancel": "cancelled",
}


def at_another_time(verb: str) -> Any:
    """A command that repeats none: its content is new."""
    return a_step(verb, at_ms=NOW_MS + 999)


@pytest.mark.parametrize(("status", "verb"), sorted(ALLOWED))
def test_an_allowed_transition_is_recorded_with_the_legs_of_its_rider(status: str, verb: str) -> None:
    then = GivenDelivery(*PATHS[status]).when(verb).then(*ALLOWED[status, verb])
    assert then.delivery.status == STATUS_AFTER[verb]


@pytest.mark.parametrize("status", sorted(PATHS))
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_other_transition_is_refused_and_names_the_present_status(status: str, verb: str) -> None:
    if (status, verb) not in ALLOWED:
        GivenDelivery(*PATHS[status]).when(at_another_time(verb)).then_refused(WrongStatus, f" is {status}:")


def test_a_placed_order_has_its_content_and_an_id_derived_from_its_key() -> None:
    command = an_order(
        at_ms=NOW_MS - 5_000,
        city="Berlin",
        preparation_seconds=600,
        promised_seconds=2_400,
        items=3,
        source_service="shop",
        command_id="key-1",
    )
    then = GivenDelivery(placed=False).when(command).then(Delivery.Placed)
    (event,) = then.deliveries
    assert (event.originator_id, event.originator_version) == (aggregate_id("Delivery", "order-1"), 1)
    assert event.data() == {
        "order_id": "order-1",
        "event_timestamp_ms": NOW_MS - 5_000,
        "event_id": event.event_id,
        "restaurant_latitude": RESTAURANT.latitude,
        "restaurant_longitude": RESTAURANT.longitude,
        "customer_latitude": CUSTOMER.latitude,
        "customer_longitude": CUSTOMER.longitude,
        "city": "Berlin",
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
        "preparation_seconds": 600,
        "promised_seconds": 2_400,
        "items": 3,
        "received_timestamp_ms": NOW_MS,
        "source_service": "shop",
        "command_id": "key-1",
        "command_digest": command.digest(),
        "caused_by": "",
    }
    assert asdict(then.delivery) == {
        "order_id": "order-1",
        "status": "placed",
        "rider_id": None,
        "restaurant": asdict(RESTAURANT),
        "customer": asdict(CUSTOMER),
        "city": "Berlin",
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
        "placed_at_ms": NOW_MS - 5_000,
        "assigned_at_ms": None,
        "picked_up_at_ms": None,
        "arrived_at_ms": None,
        "completed_at_ms": None,
        "cancelled_at_ms": None,
        "preparation_seconds": 600,
        "promised_seconds": 2_400,
        "items": 3,
        "version": 1,
        "position": 7,
    }


def test_a_step_of_an_order_that_was_not_placed_is_refused() -> None:
    for verb in VERBS:
        GivenDelivery(placed=False).when(verb).then_refused(UnknownDelivery)


def test_a_whole_life_sets_the_time_of_each_step() -> None:
    times = {"assign": 1_000, "pickup": 2_000, "arrive": 3_000}
    past = [a_step(verb, at_ms=NOW_MS + ms, after_ms=10_000) for verb, ms in times.items()]
    then = GivenDelivery(*past).when(a_step("complete", after_ms=10_000)).then(Delivery.Completed, ENDED)
    shown = then.delivery
    assert (shown.assigned_at_ms, shown.picked_up_at_ms, shown.arrived_at_ms) == tuple(
        NOW_MS + ms for ms in times.values()
    )
    # Without ``at`` it happened when it was received.
    assert (shown.completed_at_ms, shown.cancelled_at_ms, shown.rider_id) == (NOW_MS + 10_000, None, "anna")
    assert shown.version == 5


def test_an_assignment_starts_the_leg_to_the_restaurant_with_what_a_payout_needs_of_the_order() -> None:
    placed = an_order(city="Berlin", promised_seconds=2_400)
    given = GivenDelivery(placed, placed=False)
    then = given.when(a_step("assign", at_ms=NOW_MS + 500)).then(Delivery.Assigned, REGISTERED, STARTED)
    registered, started = then.riders
    assert registered.event_timestamp_ms == NOW_MS + 1_000, "a rider is registered when that is received"
    assert started.event_timestamp_ms == NOW_MS + 500
    data = started.data()
    assert (data["order_id"], data["leg"], data["city"]) == ("order-1", "to_restaurant", "Berlin")
    assert (data["target_latitude"], data["target_longitude"]) == astuple(RESTAURANT)
    assert (data["time_zone"], data["currency"], data["promised_seconds"]) == ("Europe/Berlin", "EUR", 2_400)
    assert data["received_timestamp_ms"] == NOW_MS + 1_000


def test_a_pickup_ends_the_leg_to_the_restaurant_and_starts_the_one_to_the_customer() -> None:
    then = GivenDelivery(*TO_ASSIGNED).when("pickup").then(Delivery.PickedUp, ENDED, STARTED)
    ended, started = (event.data() for event in then.riders)
    assert (ended["leg"], ended["outcome"]) == ("to_restaurant", "completed")
    assert started["leg"] == "to_customer"
    assert (started["target_latitude"], started["target_longitude"]) == astuple(CUSTOMER)
    assert then.rider().legs == [["order-1", "to_customer"]]


@pytest.mark.parametrize(
    ("past", "verb", "leg", "outcome"),
    [
        (TO_ASSIGNED, "unassign", "to_restaurant", LegOutcome.UNASSIGNED),
        (TO_ASSIGNED, "cancel", "to_restaurant", LegOutcome.CANCELLED),
        (TO_PICKED_UP, "cancel", "to_customer", LegOutcome.CANCELLED),
        (TO_ARRIVED, "cancel", "to_customer", LegOutcome.CANCELLED),
        (TO_PICKED_UP, "complete", "to_customer", LegOutcome.COMPLETED),
        (TO_ARRIVED, "complete", "to_customer", LegOutcome.COMPLETED),
    ],
)
def test_the_last_step_of_a_rider_ends_his_open_leg(
    past: tuple[str, ...], verb: str, leg: str, outcome: LegOutcome
) -> None:
    then = GivenDelivery(*past).when(verb).then(ALLOWED[STATUS_AFTER[past[-1]], verb][0], ENDED)
    (ended,) = then.riders
    assert (ended.data()["leg"], ended.data()["outcome"]) == (leg, outcome)
    assert then.rider().legs == []


def test_an_unassigned_delivery_has_no_rider_and_a_cancelled_one_keeps_its_own() -> None:
    unassigned = GivenDelivery(*TO_ASSIGNED).when("unassign").then(Delivery.Unassigned, ENDED).delivery
    assert (unassigned.status, unassigned.rider_id, unassigned.assigned_at_ms) == ("placed", None, None)
    cancelled = GivenDelivery(*TO_ASSIGNED).when("cancel").then(Delivery.Cancelled, ENDED).delivery
    assert (cancelled.rider_id, cancelled.assigned_at_ms) == ("anna", NOW_MS + 1_000)
    assert cancelled.cancelled_at_ms == NOW_MS + 1_000


def test_a_reason_is_recorded() -> None:
    then = GivenDelivery(*TO_ASSIGNED).when("unassign", reason="flat tyre").then(Delivery.Unassigned, ENDED)
    assert then.deliveries[0].data()["reason"] == "flat tyre"
    then = GivenDelivery().when("cancel", reason="closed").then(Delivery.Cancelled)
    assert (then.deliveries[0].data()["reason"], then.deliveries[0].data()["rider_id"]) == ("closed", "")


def test_another_rider_needs_an_unassignment_first() -> None:
    ben = a_step("assign", rider_id="ben")
    GivenDelivery(*TO_ASSIGNED).when(ben).then_refused(OtherRider)
    then = GivenDelivery(*TO_ASSIGNED, "unassign").when(ben).then(Delivery.Assigned, REGISTERED, STARTED)
    assert then.delivery.rider_id == "ben"
    # From pick-up on, no unassignment could help.
    GivenDelivery(*TO_PICKED_UP).when(ben).then_refused(WrongStatus, " is picked_up:")


def test_a_known_rider_is_not_registered_by_the_next_order() -> None:
    world = World()
    for number in (1, 2):
        world.execute(an_order(f"order-{number}"))
        world.execute(a_step("assign", f"order-{number}"))
    _, riders = world.collect()
    assert [type(event) for event in riders] == [REGISTERED, STARTED, STARTED]


def test_a_rider_carries_20_orders_at_once_and_no_more() -> None:
    world = World()
    for number in range(21):
        world.execute(an_order(f"order-{number}"))
    for number in range(20):
        world.execute(a_step("assign", f"order-{number}"))
    world.collect()
    with pytest.raises(TooManyLegs):
        world.execute(a_step("assign", "order-20"))
    assert world.collect() == ([], [])
    # A pick-up ends one leg before it starts another.
    assert world.execute(a_step("pickup", "order-5"))
    assert world.execute(a_step("complete", "order-5"))
    assert world.execute(a_step("assign", "order-20"))
    assert len(world.riders["anna"].legs) == 20


@pytest.mark.parametrize(
    ("at_ms", "late"), [(NOW_MS + 500, True), (NOW_MS + 999, True), (NOW_MS + 1_000, False), (None, False)]
)
def test_a_step_that_happened_before_the_stage_before_it_is_kept_and_flagged(at_ms: int | None, late: bool) -> None:
    then = GivenDelivery(*TO_ASSIGNED).when("pickup", at_ms=at_ms).then(Delivery.PickedUp, ENDED, STARTED)
    assert then.deliveries[0].data()["out_of_order"] is late


def test_a_step_of_a_clock_that_is_ahead_makes_no_later_step_out_of_order() -> None:
    """Invariant 6: what happened after its reception counts as of its reception."""
    ahead = a_step("assign", at_ms=NOW_MS + 200_000)
    then = GivenDelivery(ahead).when("pickup", received_ms=NOW_MS + 2_000).then(Delivery.PickedUp, ENDED, STARTED)
    assert then.deliveries[0].data()["out_of_order"] is False


def test_a_delivery_with_an_unreadable_event_accepts_no_command() -> None:
    placed = Delivery.place(an_order())
    for before in (None, placed):
        damaged = Delivery.with_unreadable(before, "order-1", 2)
        assert (damaged.version, damaged.order_id) == (2, "order-1")
        world = World()
        world.deliveries["order-1"] = damaged
        for command in (a_step("assign"), an_order()):
            with pytest.raises(UnreadableDelivery):
                world.execute(command)
        with pytest.raises(UnreadableDelivery):
            damaged.snapshot(1)


def test_every_error_has_a_code_of_its_own() -> None:
    def all_of(error: type[DomainError]) -> list[type[DomainError]]:
        return [error, *(each for child in error.__subclasses__() for each in all_of(child))]

    codes = [error.code for error in all_of(DomainError) if "code" in vars(error)]
    assert len(set(codes)) == len(codes)


def test_a_rider_that_refuses_the_next_leg_leaves_the_delivery_as_it_was() -> None:
    """The leg that ends makes no room where its start cannot be decoded: both aggregates change, or none does."""
    world = World()
    for number in range(21):
        world.execute(an_order(f"order-{number}"))
    world.execute(a_step("assign", "order-20"))
    unreadable = Rider.with_unreadable(Rider.register("anna", NOW_MS), "anna", 2)
    unreadable.collect_events()
    world.riders["anna"] = unreadable
    for number in range(20):
        world.execute(a_step("assign", f"order-{number}"))
    world.collect()
    with pytest.raises(TooManyLegs):
        world.execute(a_step("pickup", "order-20"))
    assert world.collect() == ([], [])
    assert world.deliveries["order-20"].status == "assigned"


def test_a_delivery_whose_rider_has_no_events_stays_as_it_was() -> None:
    world = World()
    world.execute(an_order())
    world.execute(a_step("assign"))
    world.collect()
    del world.riders["anna"]
    with pytest.raises(LegNotStarted):
        world.execute(a_step("cancel"))
    assert world.collect() == ([], [])
    assert world.deliveries["order-1"].status == "assigned"
