"""A rider's traffic: the sums of all changes are those of the sorted track, in any order of arrival."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.keyed_event import KeyedEvent
from domain.features.movement import SLOT_MS, PathFix, path_fix
from domain.features.partials import PartialTable, apply_changes, collect
from domain.features.traffic.changes import changes
from domain.features.traffic.fold import EMPTY, KEPT_BUCKETS, TrafficState, fixes_of, fold
from domain.features.traffic.partials import TRAFFIC_SLOTS, partials
from domain.features.traffic.steps import BUCKET_MS, cell_at, heading_octant, hour_of_week, step_between
from read_models.traffic.state import decode, encode

START_MS = 1_790_002_800_000  # a full hour, so the first instant of a bucket
METRES_A_DEGREE = 111_195.0797
Ping = dict[str, Any]
Sums = dict[tuple[int, int, int], list[int]]


def ping(t_s: float, north_m: float = 0.0, east_m: float = 0.0, number: int = 0, accuracy: float | None = 5.0) -> Ping:
    return {
        "rider_id": "anna",
        "latitude": 37.77 + north_m / METRES_A_DEGREE,
        "longitude": -122.42 + east_m / METRES_A_DEGREE / math.cos(math.radians(37.77)),
        "event_timestamp_ms": START_MS + round(t_s * 1_000),
        "accuracy_meters": accuracy,
        "event_id": str(UUID(int=number)),
        "received_timestamp_ms": 0,
    }


def folded(pings: list[Ping], *, through_bytes: bool = False) -> tuple[TrafficState, Sums]:
    """The last state, and the sums of all changes by bucket, cell and octant: ms, mm, riders."""
    state = EMPTY
    sums: Sums = defaultdict(lambda: [0, 0, 0])
    for number, data in enumerate(pings, start=1):
        before = decode(encode(state)) if through_bytes else state
        state = fold(before, KeyedEvent("anna", number, number, "GpsPing", data))
        for bucket, cell, octant, *amounts in changes(before, state):
            sums[bucket, cell, octant] = [a + b for a, b in zip(sums[bucket, cell, octant], amounts, strict=True)]
    return state, {place: held for place, held in sums.items() if any(held)}


def total(pings: list[Ping]) -> tuple[int, int]:
    """Milliseconds and metres over all cells."""
    _, sums = folded(pings)
    return sum(held[0] for held in sums.values()), round(sum(held[1] for held in sums.values()) / 1_000)


def direct(pings: list[Ping]) -> tuple[Sums, int]:
    """The sums by sorting all fixes that came in time, and how many came too late."""
    in_time: list[PathFix] = []
    too_late, newest = 0, 0
    for data in pings:
        if data["accuracy_meters"] is not None and data["accuracy_meters"] > 50:
            continue
        fix = path_fix(data["event_timestamp_ms"], data["latitude"], data["longitude"])
        if fix.t_ms // BUCKET_MS <= newest - KEPT_BUCKETS:
            too_late += 1
            continue
        newest = max(newest, fix.t_ms // BUCKET_MS)
        in_time.append(fix)
    first_of_slot: dict[int, PathFix] = {}
    for fix in sorted(in_time, reverse=True):
        first_of_slot[fix.t_ms // SLOT_MS] = fix
    sums: Sums = defaultdict(lambda: [0, 0, 1])
    for a, b in pairwise(sorted(first_of_slot.values())):
        step = step_between(a, b)
        if step is not None:
            held = sums[step.bucket, step.cell, step.octant]
            held[0] += step.ms
            held[1] += step.mm
    return dict(sums), too_late


# Examples


def test_a_ride_is_counted_in_its_cell_heading_and_bucket() -> None:
    _, sums = folded([ping(0), ping(10, 100), ping(20, 200)])
    (place,) = sums
    assert place == (START_MS // BUCKET_MS, cell_at(37.77, -122.42), 0)
    assert sums[place][:1] + sums[place][2:] == [20_000, 1]
    assert sums[place][1] == pytest.approx(200_000, abs=10)  # coordinates are kept to the centimetre


def test_a_rider_counts_once_however_many_steps_there_are() -> None:
    _, sums = folded([ping(10 * n, 50 * n) for n in range(29)] * 2)
    assert {held[2] for held in sums.values()} == {1}


def test_a_step_counts_in_the_bucket_of_its_later_fix() -> None:
    _, sums = folded([ping(295, 0), ping(305, 100)])
    assert [bucket for bucket, _, _ in sums] == [START_MS // BUCKET_MS + 1]


@pytest.mark.parametrize(
    ("seconds", "metres", "counts"),
    [(120, 400, True), (120.001, 400, False), (20, 20.001, True), (20, 19.9, False), (20, 799, True), (20, 801, False)],
    ids=["two minutes", "a longer gap", "1 m/s", "slower", "40 m/s", "faster"],
)
def test_limits_of_a_counted_step(seconds: float, metres: float, counts: bool) -> None:
    assert total([ping(0), ping(seconds, metres)]) == ((round(seconds * 1_000), round(metres)) if counts else (0, 0))


def test_a_waiting_rider_is_not_traffic() -> None:
    assert folded([ping(15 * n, 3 * (n % 2)) for n in range(60)])[1] == {}


def test_of_ten_seconds_the_first_fix_is_used() -> None:
    assert total([ping(0), ping(1, 900), ping(9.9, -900), ping(10, 100)]) == (10_000, 100)


def test_a_fix_that_may_be_far_off_is_not_used() -> None:
    assert total([ping(0), ping(10, 350, accuracy=50.1), ping(20, 200, accuracy=None)]) == (20_000, 200)


def test_a_late_ping_replaces_the_step_that_it_splits() -> None:
    # The detour that it shows: 150 m to the north and back, where the two others show 100 m to the east.
    state, sums = folded([ping(0), ping(40, 0, 100), ping(20, 150, 50)])
    assert sorted(octant for _, _, octant in sums) == [0, 4]
    assert sum(held[0] for held in sums.values()) == 40_000
    assert len(fixes_of(state.track)) == 3


def test_a_late_ping_that_makes_both_steps_implausible_takes_the_rider_away() -> None:
    assert folded([ping(0), ping(40, 100)])[1]
    assert folded([ping(0), ping(40, 100), ping(20, 5_000)])[1] == {}


def test_a_ping_older_than_three_buckets_is_counted_and_not_used() -> None:
    newest = [ping(900, 0), ping(910, 100)]
    state, sums = folded([*newest, ping(299.9, 0), ping(290, 100)])
    assert (state.too_late, sums) == (2, folded(newest)[1])
    assert folded([*newest, ping(300, 0)])[0].too_late == 0


def test_the_step_into_the_kept_buckets_can_still_be_split() -> None:
    pings = [ping(250, 0), ping(310, 300), ping(900, 900), ping(300, 250)]
    assert folded(pings)[1] == direct(pings)[0]


def test_events_that_are_no_pings_change_nothing_but_the_version() -> None:
    state, _ = folded([ping(0), ping(10, 100)])
    later = fold(state, KeyedEvent("anna", 3, 9, "LegStarted", {"event_timestamp_ms": START_MS}))
    assert later == state._replace(version=3, position=9)
    assert changes(state, later) == []


def test_headings() -> None:
    assert [heading_octant(*v) for v in ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))] == [
        0, 1, 2, 3, 4, 5, 6, 7,
    ]  # fmt: skip
    assert heading_octant(1.0, -0.4) == 0


def test_a_step_over_the_antimeridian_has_its_middle_there() -> None:
    step = step_between(path_fix(START_MS, 0.0, 179.9995), path_fix(START_MS + 10_000, 0.0, -179.9995))
    assert step is not None
    assert (step.cell, step.octant, step.mm) == (cell_at(0.0, 180.0), 2, 111_195)


def test_hours_of_the_week_begin_on_monday_utc() -> None:
    assert hour_of_week(0) == 3 * 24  # the epoch was a Thursday
    assert hour_of_week(4 * 86_400_000 // BUCKET_MS) == 0
    assert hour_of_week(4 * 86_400_000 // BUCKET_MS - 1) == 167


def test_a_change_goes_to_the_hour_the_hour_of_the_week_and_all_time() -> None:
    state, _ = folded([ping(0), ping(10, 100)])
    bucket, cell = START_MS // BUCKET_MS, f"{cell_at(37.77, -122.42):x}"
    mm = state.buckets[0].sums[0].mm
    assert partials(EMPTY, state) == [
        (bucket % 12, bucket, f"{cell}/0", (10_000, mm, 1)),
        (12 + hour_of_week(bucket), 0, cell, (10_000, mm)),
        (180, 0, f"{cell}/0", (10_000, mm)),
    ]


# Properties


def tracks(last_s: int) -> st.SearchStrategy[list[Ping]]:
    near = st.builds(
        lambda n, north, east, accuracy: ping(n, n * 6 + north, east, 0, accuracy),
        st.integers(0, last_s),
        st.integers(-40, 40),
        st.sampled_from([0, 0, 30, 600]),
        st.sampled_from([None, 5.0, 50.0, 51.0]),
    )
    return st.lists(near, max_size=40).flatmap(lambda found: st.just(found + found[::5]))


three_buckets = tracks(899)
an_hour = tracks(3_600)


@given(an_hour)
def test_the_sum_of_all_changes_is_that_of_a_direct_computation(pings: list[Ping]) -> None:
    state, sums = folded(pings)
    assert (sums, state.too_late) == direct(pings)


@given(three_buckets, st.randoms(use_true_random=False))
def test_invariant_6_within_three_buckets_the_order_of_arrival_changes_nothing(pings: list[Ping], chance: Any) -> None:
    shuffled = pings.copy()
    chance.shuffle(shuffled)
    assert folded(shuffled) == folded(pings)


@given(three_buckets)
def test_a_ping_twice_changes_nothing(pings: list[Ping]) -> None:
    state, sums = folded(pings)
    twice, same = folded([each for each in pings for _ in range(2)] + pings)
    assert (twice._replace(version=0, position=0), same) == (state._replace(version=0, position=0), sums)


@given(an_hour)
def test_the_table_is_that_of_a_direct_computation(pings: list[Ping]) -> None:
    state, table = EMPTY, PartialTable()
    for number, data in enumerate(pings, start=1):
        before, pending = state, PartialTable()
        state = fold(before, KeyedEvent("anna", number, number, "GpsPing", data))
        collect(pending, partials(before, state))
        apply_changes(table, pending)
    expected: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    sums, _ = direct(pings)
    for (bucket, cell, octant), (ms, mm, _) in sums.items():
        for slot, field in ((12 + hour_of_week(bucket), f"{cell:x}"), (180, f"{cell:x}/{octant}")):
            held = expected[slot][field]
            held[:] = held[0] + ms, held[1] + mm
        # An hour begins and ends in the same slot of the ring: the later bucket has it.
        assert table[bucket % 12].bucket >= bucket
        if table[bucket % 12].bucket == bucket:
            expected[bucket % 12][f"{cell:x}/{octant}"] = [ms, mm, 1]
    found = {s: {field: list(amounts) for field, amounts in held.sums.items()} for s, held in table.items()}
    assert {s: held for s, held in found.items() if held} == {s: dict(held) for s, held in expected.items() if held}
    assert all(0 <= s < TRAFFIC_SLOTS for s in table)


@given(an_hour)
def test_the_state_is_the_sums_of_its_own_fixes(pings: list[Ping]) -> None:
    state, sums = folded(pings)
    held = {(bucket, each.cell, each.octant): [each.ms, each.mm, 1] for bucket, of in state.buckets for each in of}
    fixes = fixes_of(state.track)
    newest = fixes[-1].t_ms // BUCKET_MS if fixes else 0
    assert held == {place: amounts for place, amounts in sums.items() if place[0] > newest - KEPT_BUCKETS}
    assert fixes == sorted(fixes)
    assert sum(fix.t_ms // BUCKET_MS <= newest - KEPT_BUCKETS for fix in fixes) <= 1


@given(an_hour)
def test_a_state_survives_its_bytes_after_each_ping(pings: list[Ping]) -> None:
    assert folded(pings, through_bytes=True) == folded(pings)


@given(st.lists(st.tuples(st.integers(-89, 89), st.integers(-180, 180)), min_size=2, max_size=6))
def test_no_place_on_earth_fails(places: list[tuple[int, int]]) -> None:
    pings = [ping(10 * n) | {"latitude": float(a), "longitude": float(b)} for n, (a, b) in enumerate(places)]
    assert folded(pings)[1] == direct(pings)[0]
