"""When a leg was approached, reached and done, by what, and how surely: one case a rule."""

from __future__ import annotations

import pytest

from domain.features.case_file import alert_id, case_bytes
from domain.features.completion.fold import EMPTY
from domain.features.completion.rules import MAX_ENDED_LEGS
from domain.features.legs import MAX_OPEN_LEGS
from tests.support.worlds.leg_events import (
    LATITUDE,
    LONGITUDE,
    START_MS,
    Folded,
    LegEvent,
    end_id,
    ended,
    ping,
    ping_id,
    rest,
    ride,
    seconds,
    started,
)


def still(second: float) -> LegEvent:
    return ping(second, speed=0.0)


COMING = [started(), *ride(0, 100, 600, 0)]
"""A ride of 100 s to the target, at 6 m/s: within 150 m from 80 s on."""
LATER = [ping(900, 3_000, speed=6.0)]
"""Makes final what ended before 10 minutes."""


# Arrival


def test_a_rider_approaches_arrives_and_is_done_by_leaving() -> None:
    found = Folded([*COMING, *rest(100, 200), *ride(200, 230, 20, 180)]).result()
    assert (seconds(found.approach_ms), seconds(found.arrived_ms), seconds(found.done_ms)) == (80, 100, 195)
    assert (found.basis, found.certainty, found.button_ms, found.outcome) == ("pings", "medium", None, None)
    assert (found.approach_event, found.arrived_event, found.done_event) == (ping_id(80), ping_id(100), ping_id(195))
    assert (found.distance_mm, found.accuracy_mm) == (0, 5_000)


def test_the_button_in_place_makes_it_both_and_sure() -> None:
    found = Folded([*COMING, *rest(100, 200), ended(198)]).result()
    assert (seconds(found.arrived_ms), seconds(found.done_ms), seconds(found.button_ms)) == (100, 198, 198)
    assert (found.basis, found.certainty, found.outcome) == ("both", "high", "completed")
    assert (found.done_event, found.button_event) == (end_id(198), end_id(198))


@pytest.mark.parametrize(
    ("fixes", "arrives"),
    [
        (rest(100, 125), True),
        (rest(100, 120), False),  # three fixes and more, but not 20 s
        ([still(100), still(120)], False),  # 20 s, but two fixes
        ([still(100), still(110), still(120)], True),
        (rest(100, 160, 40.5), False),
        (rest(100, 160, 39.5), True),
        (rest(100, 160, 70, accuracy=50.0), True),  # 1.5 times the accuracy is 75 m
        (rest(100, 160, 70, accuracy=40.0), False),
        (rest(100, 160, 39.5, accuracy=None), True),
        (rest(100, 160, speed=1.4), True),  # on foot
        (rest(100, 160, speed=1.6), False),
        (rest(100, 160, accuracy=101.0), False),  # not used
    ],
)
def test_what_is_an_arrival(fixes: list[LegEvent], arrives: bool) -> None:
    assert (Folded([*COMING, *fixes]).result().arrived_ms is not None) is arrives


def test_without_a_device_speed_a_place_that_is_crossed_is_no_arrival() -> None:
    crossing = [ping(100 + 5 * n, -39 + 10 * n) for n in range(9)]  # 2 m/s
    walking = [ping(100 + 5 * n, -39 + 4 * n) for n in range(9)]  # 0.8 m/s
    assert Folded([*COMING, *crossing]).result().arrived_ms is None
    assert Folded([*COMING, *walking]).result().arrived_ms == START_MS + 105_000  # the first fix shows the ride there


def test_a_fix_beside_the_radius_does_not_end_a_rest_and_a_ride_does() -> None:
    noise, moving = ping(115, 60, speed=0.0), ping(115, 10, speed=4.0)
    for between, arrives in ((noise, True), (moving, False)):
        events = [*COMING, *rest(100, 115), between, *rest(120, 125)]
        assert (Folded(events).result().arrived_ms is not None) is arrives


def test_a_traffic_light_near_the_target_is_no_arrival() -> None:
    light = [*ride(0, 100, 600, 35), *rest(100, 130, 35)]
    events = [started(), *light, ping(130, 30, speed=4.0), *rest(135, 200)]
    assert seconds(Folded([started(), *light]).result().arrived_ms) == 100
    assert seconds(Folded(events).result().arrived_ms) == 135


def test_after_a_minute_in_place_a_ride_does_not_move_the_arrival() -> None:
    events = [*COMING, *rest(100, 170), ping(170, 30, speed=4.0), *rest(175, 260)]
    assert seconds(Folded(events).result().arrived_ms) == 100


def test_a_rider_who_passes_by_has_not_approached() -> None:
    events = [started(), *ride(0, 200, 600, -600), *ride(200, 300, -610, 0), *rest(300, 400)]
    assert Folded(events[:42]).result().approach_ms is None
    assert seconds(Folded(events).result().approach_ms) == 280


def test_a_rider_who_strolls_while_the_food_is_not_ready_had_arrived_before() -> None:
    events = [*COMING, *rest(100, 200), *ride(200, 260, 20, 180), *ride(260, 300, 180, 0), *rest(300, 360)]
    assert seconds(Folded(events[:53]).result().done_ms) == 195
    found = Folded(events).result()
    assert (seconds(found.arrived_ms), found.done_ms) == (100, None)
    assert seconds(Folded([*events, *ride(360, 400, 20, 300)]).result().done_ms) == 355


def test_regression_late_fixes_of_the_rest_move_the_instant_of_leaving() -> None:
    """The row of a leg whose button was not pressed stayed as of before them, and named another event."""
    on_time, late = [*COMING, *rest(100, 140), *ride(200, 230, 20, 180)], rest(140, 200)
    assert seconds(Folded(on_time).result().done_ms) == 135
    found = Folded([*on_time, *late]).result()
    assert (seconds(found.done_ms), found.done_event) == (195, ping_id(195))


def test_a_stay_of_less_than_30_seconds_is_not_done_by_leaving() -> None:
    found = Folded([*COMING, *rest(100, 126), *ride(130, 160, 20, 180)]).result()
    assert (seconds(found.arrived_ms), found.done_ms, found.certainty) == (100, None, "low")


# Button


def test_a_button_confirms_a_short_rest() -> None:
    found = Folded([*COMING, *rest(100, 110), ended(112)]).result()
    assert (seconds(found.arrived_ms), seconds(found.done_ms)) == (100, 112)
    assert (found.basis, found.certainty) == ("both", "medium")


def test_a_button_that_is_pressed_before_the_arrival() -> None:
    found = Folded([*COMING, ended(80), *rest(100, 140)]).result()
    assert (seconds(found.arrived_ms), seconds(found.done_ms)) == (100, 100)
    assert (found.basis, found.certainty) == ("both", "medium")


def test_a_button_that_is_pressed_after_leaving_is_done_when_the_rider_left() -> None:
    left = [*COMING, *rest(100, 200), *ride(200, 230, 20, 180)]
    soon, late = (Folded([*left, ping(at - 1, 2_500, speed=6.0), ended(at)]).result() for at in (400, 600))
    assert (seconds(soon.done_ms), soon.done_event, soon.certainty) == (195, ping_id(195), "high")
    assert (seconds(late.done_ms), late.basis, late.certainty) == (195, "both", "medium")


def test_without_pings_there_is_only_the_button() -> None:
    found = Folded([started(), ended(300)]).result()
    assert (found.arrived_ms, seconds(found.done_ms), found.basis, found.certainty) == (None, 300, "button", "low")
    assert (found.distance_mm, found.button_distance_mm) == (None, None)


def test_a_button_90_metres_from_the_address_is_somewhat_sure() -> None:
    found = Folded([started(), *ride(0, 100, 690, 90), *rest(100, 200, 90), ended(198)]).result()
    assert (found.basis, found.certainty) == ("button", "medium")
    assert found.button_distance_mm == pytest.approx(90_000, abs=10)


@pytest.mark.parametrize("outcome", ["unassigned", "cancelled"])
def test_a_leg_that_ends_otherwise_is_not_done(outcome: str) -> None:
    found = Folded([*COMING, *rest(100, 200), ended(198, outcome=outcome)]).result()
    assert (found.done_ms, found.button_ms, found.outcome, found.basis) == (None, None, outcome, "pings")
    assert Folded([started(), ended(9, outcome=outcome)]).result().basis is None


# Button against pings


def far(metres: float = 2_000.0, **fields: object) -> list[LegEvent]:
    """A rider who stands elsewhere for five minutes, and presses the button."""
    return [started(), *rest(0, 300, metres, **fields), ended(298)]  # type: ignore[arg-type]


def cases(events: list[LegEvent]) -> list[int]:
    return [final.case.score for final in Folded([*events, *LATER]).finals if final.case is not None]


def test_a_button_two_kilometres_away_is_a_case_for_the_desk() -> None:
    found = Folded([*far(), *LATER])
    assert (found.result().basis, found.result().certainty) == ("button_against_pings", "high")
    assert (seconds(found.result().button_ms), found.result().done_ms) == (298, None)
    (final,) = found.finals
    case = final.case
    assert case is not None
    assert case.alert_id == alert_id("completion", "anna", end_id(298))
    assert (case.kind, case.order_id, case.leg, case.score) == ("completion", "o-1", "to_customer", 100 - 1)
    (signal,) = case.signals
    assert (signal.name, signal.evidence[0]) == ("button_against_pings", end_id(298))
    assert dict(signal.measured)["at_least_mm"] == pytest.approx(2_000_000 - 7_500, abs=10)
    assert [fix.event_id for fix in case.window] == list(signal.evidence[1:])
    assert (case.raised_at_ms, case.position) == (START_MS + 298_000, found.state.position)
    assert case_bytes(case) == case_bytes(Folded([*far(), *LATER]).finals[0].case or case)


def test_the_case_is_raised_once_when_no_ping_can_change_it() -> None:
    events = [*far(), *rest(300, 540, 2_000)]
    assert Folded(events).finals == []
    assert len(Folded([*events, *LATER, ping(1_800, 3_000), ping(3_600, 0)]).finals) == 1


@pytest.mark.parametrize(
    "events",
    [
        far(450),
        far(accuracy=51.0),
        far(accuracy=None),
        [started(), ended(298)],
        [started(), *rest(0, 200, 2_000), ended(298)],  # silent for 98 s around the button
        [started(), *rest(0, 60, 2_000), *rest(250, 300, 2_000), ended(298)],  # silent for long enough to ride there
        [*COMING, *ride(100, 200, 0, 2_000), *rest(200, 300, 2_000), ended(298)],  # was there and did not stop
        [started(), *rest(0, 280, 2_000), *rest(280, 300, 12_000), ended(298)],  # a phone whose position jumps
        [started(), *rest(270, 279, 2_000), ended(280)],  # two fixes
        [*far()[:-1], ended(298, outcome="cancelled")],
        [*far()[:-1], ended(298), *rest(300, 400, 0)],  # it turns up at once: the position before was wrong
    ],
    ids=[
        *("near", "inaccurate", "unknown accuracy", "no pings", "silent", "unseen", "was there", "jumps", "few"),
        *("not pressed", "turns up"),
    ],
)
def test_unknown_is_no_accusation(events: list[LegEvent]) -> None:
    assert cases(events) == []
    assert Folded(events).result().basis in {"button", "both", None}


def test_a_short_silence_far_away_changes_nothing() -> None:
    events = [started(), *rest(0, 60, 5_000), *rest(240, 300, 5_000), ended(298)]
    assert cases(events) == [100]


# Places


def test_a_stop_counts_for_its_place_with_its_offset() -> None:
    standing = [ping(100 + 5 * n, 60 + n % 2, -20, speed=0.0) for n in range(20)]
    found = Folded([started(), *ride(0, 100, 600, 60), *standing, ended(198), *LATER])
    (final,) = found.finals
    assert (final.place, final.leg) == (f"{LATITUDE:.4f},{LONGITUDE:.4f}", "to_customer")
    assert final.stop is not None
    assert final.stop.north_mm == pytest.approx(60_500, abs=50)
    assert final.stop.east_mm == pytest.approx(-20_000, abs=50)
    assert final.stop.stop_fixes == 12  # one minute


def test_a_button_while_riding_is_no_stop() -> None:
    (final,) = Folded([started(), *ride(0, 100, 900, 300), ended(97), *LATER]).finals
    assert final.stop is None


def test_places_west_and_south_are_named_by_their_lower_corner() -> None:
    found = Folded([started(target_latitude=-33.86881, target_longitude=-0.00005)]).result()
    assert found.place == "-33.8689,-0.0001"


# What is kept


def test_twenty_legs_at_once() -> None:
    legs = [started(order=f"o-{n}", target_latitude=LATITUDE + n / 1e3) for n in range(MAX_OPEN_LEGS)]
    events = [*legs, started(order="one-more"), ended(1, order="unknown"), started(leg="to_depot"), *rest(5, 60)]
    found = Folded(events)
    assert (len(found.state.legs), found.state.not_kept) == (MAX_OPEN_LEGS, 3)
    assert [n for n in range(MAX_OPEN_LEGS) if found.result(f"o-{n}").arrived_ms] == [0]
    assert ("one-more", "to_customer") not in found.results


def test_a_leg_that_starts_again_replaces_its_first_start() -> None:
    found = Folded([*COMING, *rest(100, 200), ended(198, outcome="unassigned"), started(300)])
    assert (len(found.state.legs), found.result().started_ms, found.result().arrived_ms) == (
        1,
        START_MS + 300_000,
        None,
    )


def test_ended_legs_are_kept_for_late_pings_and_not_for_ever() -> None:
    events = [*COMING, ended(98)]
    late = Folded([*events, ping(200, 2_000), *rest(90, 98)])
    assert (late.result().arrived_ms, late.state.too_late) == (START_MS + 90_000, 0)
    gone = Folded([*events, *LATER, *rest(90, 98)])
    assert (gone.state.legs, gone.state.too_late, gone.result().arrived_ms) == ((), 2, None)


def test_the_keep_of_ended_legs_is_bounded() -> None:
    many = [each for n in range(MAX_ENDED_LEGS + 5) for each in (started(order=f"o-{n}"), ended(1, order=f"o-{n}"))]
    found = Folded(many)
    assert len(found.state.legs) == MAX_ENDED_LEGS
    assert len(found.finals) == 5


def test_fixes_that_may_be_anywhere_are_counted() -> None:
    found = Folded([*COMING, *rest(100, 160, accuracy=100.5)])
    assert found.state.inaccurate == 12


def test_events_of_other_kinds_change_nothing_but_the_version() -> None:
    found = Folded(COMING).state
    later = Folded([("ShiftEnded", {"event_timestamp_ms": START_MS})], found).state
    assert later == found._replace(version=found.version + 1, position=found.version + 1, results=(), finals=())
    assert Folded([("ShiftStarted", {"event_timestamp_ms": START_MS})]).state == EMPTY._replace(version=1, position=1)
