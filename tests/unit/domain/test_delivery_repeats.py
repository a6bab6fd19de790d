"""Commands on deliveries that are sent again: by content and by Idempotency-Key, in the order of the checks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from domain.deliveries.commands import DeliveryCommand
from domain.deliveries.delivery import Delivery
from domain.deliveries.values import Coordinates
from domain.errors import (
    DeliveryExists,
    IdempotencyConflict,
    OtherRider,
    UnknownDelivery,
    WrongStatus,
)
from domain.riders.rider import Rider
from tests.unit.domain.given import NOW_MS
from tests.unit.domain.given_delivery import GivenDelivery, a_step, an_order

STARTED, ENDED = Rider.LegStarted, Rider.LegEnded
LIFE = ("assign", "pickup", "arrive", "complete")


@pytest.mark.parametrize("count", range(1, 5))
def test_each_step_of_a_life_is_a_repeat_for_as_long_as_it_holds(count: int) -> None:
    given = GivenDelivery(*LIFE[:count])
    for verb in LIFE[:count]:
        given.when(a_step(verb, after_ms=60_000)).then_repeated()
        given.when(a_step(verb, at_ms=NOW_MS + 1_000, after_ms=60_000)).then_repeated()


def test_a_step_that_holds_is_a_repeat_after_the_cancellation_too() -> None:
    given = GivenDelivery("assign", "pickup", "cancel")
    for verb in ("assign", "pickup", "cancel"):
        given.when(verb).then_repeated()
    given.when("arrive").then_refused(WrongStatus, " is cancelled:")
    given.when("complete").then_refused(WrongStatus, " is cancelled:")


@pytest.mark.parametrize("verb", LIFE)
def test_the_same_step_at_another_time_is_no_repeat(verb: str) -> None:
    given = GivenDelivery(*LIFE)
    given.when(a_step(verb, at_ms=NOW_MS + 1_001)).then_refused(WrongStatus, " is completed:")


def test_an_assignment_after_an_unassignment_is_a_new_one() -> None:
    given = GivenDelivery("assign", "unassign")
    given.when("assign").then(Delivery.Assigned, STARTED)


def test_an_unassignment_of_the_next_rider_is_a_new_one() -> None:
    given = GivenDelivery("assign", "unassign", a_step("assign", rider_id="ben"))
    given.when("unassign").then(Delivery.Unassigned, ENDED)


def test_an_unassignment_is_a_repeat_until_the_next_assignment_and_after_a_cancellation() -> None:
    GivenDelivery("assign", "unassign").when("unassign").then_repeated()
    GivenDelivery("assign", "unassign", "cancel").when("unassign").then_repeated()
    GivenDelivery("assign", "unassign").when("unassign", reason="flat tyre").then_refused(WrongStatus, " is placed:")
    GivenDelivery("assign", "unassign", "assign", "pickup").when("unassign").then_refused(WrongStatus)


def test_only_arguments_that_were_sent_are_compared() -> None:
    cancelled = a_step("cancel", reason="closed", at_ms=NOW_MS)
    GivenDelivery(cancelled).when("cancel").then_repeated()
    GivenDelivery(cancelled).when("cancel", reason="closed").then_repeated()
    GivenDelivery(cancelled).when("cancel", reason="other").then_refused(WrongStatus)
    GivenDelivery("cancel").when("cancel", reason="closed").then_refused(WrongStatus)


def test_another_rider_is_no_repeat() -> None:
    GivenDelivery("assign").when("assign", rider_id="ben").then_refused(OtherRider)
    GivenDelivery(*LIFE).when("assign", rider_id="ben").then_refused(WrongStatus, " is completed:")


FULL: dict[str, Any] = {
    "at_ms": NOW_MS - 1_000,
    "city": "Berlin",
    "preparation_seconds": 600,
    "promised_seconds": 2_400,
    "items": 3,
    "source_service": "shop",
}
OTHER: dict[str, Any] = {
    "at_ms": NOW_MS - 2_000,
    "city": "Hamburg",
    "preparation_seconds": 601,
    "promised_seconds": 2_401,
    "items": 4,
    "source_service": "app",
    "restaurant": Coordinates(52.0, 13.0),
    "customer": Coordinates(52.0, 13.0),
    "time_zone": "UTC",
    "currency": "USD",
}


def test_the_same_order_again_is_a_repeat_whatever_became_of_it() -> None:
    for past in ((), LIFE, ("cancel",)):
        given = GivenDelivery(an_order(**FULL), *past, placed=False)
        given.when(an_order(**FULL, received_ms=NOW_MS + 60_000)).then_repeated()
        given.when(an_order(received_ms=NOW_MS + 60_000)).then_repeated()


@pytest.mark.parametrize("field", sorted(OTHER))
def test_an_order_with_other_content_is_a_conflict(field: str) -> None:
    given = GivenDelivery(an_order(**FULL), placed=False)
    given.when(an_order(**{field: OTHER[field]})).then_refused(DeliveryExists)


@pytest.mark.parametrize("field", sorted(FULL))
def test_a_field_that_the_first_request_did_not_have_is_compared_when_it_is_sent(field: str) -> None:
    GivenDelivery().when(an_order(**{field: FULL[field]})).then_refused(DeliveryExists)


def test_an_order_without_its_time_was_placed_at_the_reception_of_the_first_request() -> None:
    GivenDelivery().when(an_order(at_ms=NOW_MS, received_ms=NOW_MS + 60_000)).then_repeated()


def keyed(verb: str, key: str = "key-1", **fields: Any) -> DeliveryCommand:
    return a_step(verb, command_id=key, **fields)


def test_a_key_is_recorded_with_the_digest_of_its_command() -> None:
    command = keyed("assign")
    then = GivenDelivery().when(command).then(Delivery.Assigned, Rider.Registered, STARTED)
    assert (then.deliveries[0].data()["command_id"], then.deliveries[0].data()["command_digest"]) == (
        "key-1",
        command.digest(),
    )


def test_a_made_id_is_never_taken_for_a_key() -> None:
    then = GivenDelivery().when("assign").then(Delivery.Assigned, Rider.Registered, STARTED)
    made = then.deliveries[0].command_id
    GivenDelivery("assign").when(keyed("pickup", made)).then(Delivery.PickedUp, ENDED, STARTED)


def test_the_same_key_and_body_is_a_repeat_even_when_the_step_holds_no_longer() -> None:
    given = GivenDelivery(keyed("assign"), "unassign")
    given.when(keyed("assign", after_ms=60_000)).then_repeated()
    given.when("assign").then(Delivery.Assigned, STARTED)


@pytest.mark.parametrize(
    "other",
    [
        keyed("pickup"),
        keyed("assign", rider_id="ben"),
        keyed("assign", at_ms=NOW_MS + 1_000),
        an_order(command_id="key-1"),
    ],
    ids=["another verb", "another rider", "another time", "the order itself"],
)
def test_the_same_key_with_another_verb_or_body_is_a_conflict(other: DeliveryCommand) -> None:
    GivenDelivery(keyed("assign")).when(other).then_refused(IdempotencyConflict)


def test_an_order_is_recognised_by_its_key_too() -> None:
    given = GivenDelivery(an_order(command_id="key-1"), placed=False)
    given.when(an_order(command_id="key-1")).then_repeated()
    given.when(an_order(command_id="key-1", items=3)).then_refused(IdempotencyConflict)
    given.when(an_order(command_id="key-2", items=3)).then_refused(DeliveryExists)


def test_a_key_belongs_to_its_order() -> None:
    given = GivenDelivery(an_order("order-2"), keyed("assign"))
    given.when(replace(keyed("assign"), order_id="order-2")).then(Delivery.Assigned, STARTED)


def test_the_checks_come_in_the_order_of_the_contract() -> None:
    """404, then the key, then the repeat, then the other conflicts."""
    GivenDelivery(placed=False).when(keyed("assign")).then_refused(UnknownDelivery)
    # By content it would be a repeat.
    GivenDelivery(keyed("assign"), "pickup").when(keyed("pickup")).then_refused(IdempotencyConflict)
    # A new key does not hide a repeat by content.
    GivenDelivery("assign").when(keyed("assign")).then_repeated()
    # The status would refuse it, but its key shows that it was recorded.
    GivenDelivery(keyed("cancel")).when(keyed("cancel")).then_repeated()
    # The repeat comes before the status.
    GivenDelivery(*LIFE).when("pickup").then_repeated()


def test_a_refused_command_does_not_use_up_its_key() -> None:
    given = GivenDelivery("assign")
    given.when(keyed("complete")).then_refused(WrongStatus)
    given.when(keyed("pickup")).then(Delivery.PickedUp, ENDED, STARTED)


def test_a_key_of_a_repeat_by_content_is_still_free() -> None:
    given = GivenDelivery("assign")
    given.when(keyed("assign")).then_repeated()
    given.when(keyed("pickup")).then(Delivery.PickedUp, ENDED, STARTED)


def test_the_digest_is_of_the_parsed_body() -> None:
    whole = an_order(restaurant=Coordinates(52, -0.0))
    assert whole.digest() == an_order(restaurant=Coordinates(52.0, 0.0), received_ms=1, command_id="k").digest()
    assert whole.digest() != an_order(restaurant=Coordinates(52.0, 0.0), items=0).digest()
    assert a_step("unassign").digest() != a_step("cancel").digest()
    # Stored with every keyed event: another digest would make a conflict of every repeat that is still under way.
    assert a_step("assign").digest() == "28fba95e4c85915c5b7dfa8fc931c68f"


def test_an_empty_source_service_is_an_unknown_one_and_its_repeat_is_a_repeat() -> None:
    order = an_order(source_service="")
    given = Delivery.place(order)
    assert given.source_service == "unknown"
    assert given.is_repeat(order)
    assert given.is_repeat(an_order(source_service="unknown"))
    with pytest.raises(DeliveryExists):
        given.is_repeat(an_order(source_service="shop"))
