"""The Rider aggregate in given/when/then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from domain.errors import (
    EventIdConflict,
    InvalidRiderId,
    LegAlreadyStarted,
    LegNotStarted,
    ShiftAlreadyStarted,
    ShiftNotStarted,
    TooManyLegs,
)
from domain.gps_ping import GpsPing
from domain.identifiers import aggregate_id
from domain.riders.leg import MAX_OPEN_LEGS, Leg, LegOutcome
from domain.riders.rider import PingKey, Rider
from tests.unit.domain.given import NOW_MS, Given, a_ping

LEG = Leg("order-1", "to_restaurant", 52.51, 13.41)


def pinged(ping: GpsPing, *recorded: GpsPing) -> Callable[[Rider], bool]:
    known: dict[PingKey, GpsPing] = {(p.event_timestamp_ms, p.event_id): p for p in recorded}
    return lambda rider: rider.record_ping(ping, known)


def started(rider: Rider) -> None:
    rider.start_shift(NOW_MS)


def on_leg(rider: Rider) -> None:
    rider.start_leg(LEG, NOW_MS)


def test_a_new_rider_is_registered_under_an_id_derived_from_the_key() -> None:
    rider = Rider.register("anna", NOW_MS)
    (event,) = rider.collect_events()
    assert isinstance(event, Rider.Registered)
    assert (event.originator_id, event.originator_version) == (aggregate_id("Rider", "anna"), 1)


@pytest.mark.parametrize("rider_id", ["", "x" * 129, "x" * 10_000, "a/b", " a", "a ", "a\nb", "\ud800"])
def test_a_rider_with_an_invalid_id_is_rejected(rider_id: str) -> None:
    with pytest.raises(InvalidRiderId):
        Rider.register(rider_id, NOW_MS)


def test_a_ping_is_recorded() -> None:
    ping = a_ping()
    then = Given().when(pinged(ping)).then(Rider.PingRecorded)
    assert then.answer is True
    assert then.rider.latest_ms == NOW_MS


def test_a_later_ping_needs_no_lookup_in_the_log() -> None:
    rider = Given(pinged(a_ping())).when(lambda rider: None).rider
    assert not rider.may_have_recorded(a_ping(t_ms=NOW_MS + 1))
    assert rider.may_have_recorded(a_ping(t_ms=NOW_MS))


def test_a_ping_sent_again_is_recorded_once() -> None:
    ping = a_ping()
    then = Given(pinged(ping)).when(pinged(ping, ping)).then()
    assert then.answer is False


def test_invariant_3_however_late_it_is_sent_again() -> None:
    late = a_ping(t_ms=NOW_MS - 86_400_000)
    then = Given(pinged(late), pinged(a_ping())).when(pinged(late._replace(received_timestamp_ms=1), late)).then()
    assert then.answer is False


def test_a_late_ping_that_is_new_is_recorded() -> None:
    Given(pinged(a_ping())).when(pinged(a_ping(t_ms=NOW_MS - 1))).then(Rider.PingRecorded)


def test_two_pings_of_one_instant_with_other_ids_are_both_recorded() -> None:
    first = a_ping()
    other = a_ping(latitude=52.6)
    assert first.event_id != other.event_id
    Given(pinged(first)).when(pinged(other, first)).then(Rider.PingRecorded)


def test_the_same_id_and_time_with_other_content_is_a_conflict() -> None:
    first = a_ping(event_id="0b7e9d1c-3f6a-4f0e-8f65-2b1f9a8d7c6e")
    other = a_ping(event_id="0b7e9d1c-3f6a-4f0e-8f65-2b1f9a8d7c6e", accuracy_meters=3)
    Given(pinged(first)).when(pinged(other, first)).then_refused(EventIdConflict)


def test_a_late_ping_does_not_move_the_latest_time_back() -> None:
    then = Given(pinged(a_ping())).when(pinged(a_ping(t_ms=NOW_MS - 5_000))).then(Rider.PingRecorded)
    assert then.rider.latest_ms == NOW_MS


def test_a_shift_starts_and_ends() -> None:
    Given().when(started).then(Rider.ShiftStarted)
    Given(started).when(lambda rider: rider.end_shift(NOW_MS)).then(Rider.ShiftEnded)


def test_a_shift_does_not_start_twice_nor_end_before_it_starts() -> None:
    Given(started).when(started).then_refused(ShiftAlreadyStarted)
    Given().when(lambda rider: rider.end_shift(NOW_MS)).then_refused(ShiftNotStarted)


def ended(order_id: str, leg: str) -> Callable[[Rider], None]:
    return lambda rider: rider.end_leg(order_id, leg, NOW_MS, LegOutcome.COMPLETED)


def test_a_leg_starts_and_ends() -> None:
    Given().when(on_leg).then(Rider.LegStarted)
    then = Given(on_leg).when(ended("order-1", "to_restaurant")).then(Rider.LegEnded)
    assert then.rider.legs == []


def test_a_leg_does_not_start_twice_and_only_an_open_one_ends() -> None:
    Given(on_leg).when(on_leg).then_refused(LegAlreadyStarted)
    Given(on_leg).when(ended("order-2", "to_restaurant")).then_refused(LegNotStarted)
    Given(on_leg).when(ended("order-1", "to_customer")).then_refused(LegNotStarted)
    Given().when(ended("order-1", "to_restaurant")).then_refused(LegNotStarted)


def test_legs_of_several_orders_are_open_at_once_and_end_in_any_order() -> None:
    second = LEG._replace(order_id="order-2")
    then = Given(on_leg, lambda rider: rider.start_leg(second, NOW_MS)).when(ended("order-1", "to_restaurant"))
    assert then.then(Rider.LegEnded).rider.legs == [["order-2", "to_restaurant"]]


def test_at_most_20_legs_are_open() -> None:
    def on_legs(rider: Rider) -> None:
        for number in range(MAX_OPEN_LEGS):
            rider.start_leg(LEG._replace(order_id=f"order-{number + 1}"), NOW_MS)

    assert MAX_OPEN_LEGS == 20
    one_more = LEG._replace(order_id="order-21")
    Given(on_legs).when(lambda rider: rider.start_leg(one_more, NOW_MS)).then_refused(TooManyLegs)
    ended_first = ended("order-7", "to_restaurant")
    Given(on_legs, ended_first).when(lambda rider: rider.start_leg(one_more, NOW_MS)).then(Rider.LegStarted)


def test_a_leg_whose_start_cannot_be_decoded_ends() -> None:
    """An order must be able to end, whatever happened to the bytes of one event (invariant 10)."""
    rider = Rider.with_unreadable(Rider.register("anna", NOW_MS), "anna", 2)
    rider.end_leg("order-1", "to_restaurant", NOW_MS, LegOutcome.CANCELLED)
    assert rider.version == 3


def test_events_without_an_id_of_their_own_get_one_from_their_place() -> None:
    def id_of(rider: Rider) -> str:
        rider.start_shift(NOW_MS)
        return rider.pending_events[-1].event_id  # type: ignore[attr-defined, no-any-return]

    first, again = Rider.register("anna", NOW_MS), Rider.register("anna", NOW_MS)
    assert id_of(first) == id_of(again)
