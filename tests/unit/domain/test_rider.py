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
)
from domain.gps_ping import GpsPing
from domain.identifiers import aggregate_id
from domain.riders.rider import Leg, PingKey, Rider
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


def test_a_leg_starts_and_ends() -> None:
    Given().when(on_leg).then(Rider.LegStarted)
    Given(on_leg).when(lambda rider: rider.end_leg("order-1", "to_restaurant", NOW_MS)).then(Rider.LegEnded)


def test_one_leg_at_a_time_and_only_the_one_that_is_under_way_ends() -> None:
    Given(on_leg).when(on_leg).then_refused(LegAlreadyStarted)
    Given(on_leg).when(lambda rider: rider.end_leg("order-2", "to_restaurant", NOW_MS)).then_refused(LegNotStarted)
    Given().when(lambda rider: rider.end_leg("order-1", "to_restaurant", NOW_MS)).then_refused(LegNotStarted)


def test_events_without_an_id_of_their_own_get_one_from_their_place() -> None:
    def id_of(rider: Rider) -> str:
        rider.start_shift(NOW_MS)
        return rider.pending_events[-1].event_id  # type: ignore[attr-defined, no-any-return]

    first, again = Rider.register("anna", NOW_MS), Rider.register("anna", NOW_MS)
    assert id_of(first) == id_of(again)
