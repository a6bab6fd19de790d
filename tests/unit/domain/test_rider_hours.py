"""A rider's hours and minutes: the sums are those of the sorted track, in any order of arrival."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.features.keyed_event import KeyedEvent
from domain.features.rider_hours import EMPTY, KEPT, RiderHours, fold, step
from read_models.analytics.rows import HOUR_MAXIMA, HOUR_SUMS, MINUTE_SUMS, changes
from read_models.analytics.state import decode, encode
from read_models.rows import RowChange, merged
from tests.support.worlds.replay_reference import effective_ms

START_MS = 1_790_002_800_000  # a full hour
Ping = dict[str, Any]


def ping(
    t_ms: int, north_m: float = 0.0, number: int = 0, accuracy: float | None = 5.0, received_ms: int | None = None
) -> Ping:
    return {
        "rider_id": "anna",
        "latitude": north_m / 111_195.0797,
        "longitude": 13.4,
        "event_timestamp_ms": START_MS + t_ms,
        "accuracy_meters": accuracy,
        "event_id": str(UUID(int=number)),
        "received_timestamp_ms": START_MS + t_ms if received_ms is None else received_ms,
    }


def folded(pings: list[Ping], *, through_bytes: bool = False) -> tuple[RiderHours, dict[tuple[str, Any], RowChange]]:
    state = EMPTY
    rows: list[RowChange] = []
    for number, data in enumerate(pings, start=1):
        state = fold(state, KeyedEvent("anna", number, number, "GpsPing", data))
        rows += changes("anna", state)
        if through_bytes:
            state = decode(encode(state))
    return state, {(row.table, row.key[-1].timestamp()): row for row in merged(rows)}


def hours(pings: list[Ping]) -> dict[int, dict[str, int]]:
    """Hour after START_MS -> its columns, without those that are 0."""
    _, rows = folded(pings)
    found = {}
    for (table, at_s), row in rows.items():
        if table == "rider_hours":
            columns = dict(zip(HOUR_SUMS, row.add, strict=True)) | dict(
                zip(HOUR_MAXIMA, row.latest or (0, 0), strict=True)
            )
            found[round((at_s * 1000 - START_MS) / 3_600_000)] = {n: v for n, v in columns.items() if v}
    return found


def test_a_rider_who_moves() -> None:
    assert hours([ping(0, 0), ping(10_000, 100), ping(20_000, 150)]) == {
        0: {
            "pings": 3,
            "distance_mm": 150_000,
            "moving_mm": 150_000,
            "moving_ms": 20_000,
            "speed_max_mm_s": 10_000,
            "longest_silence_ms": 10_000,
        }
    }


def test_a_phone_at_rest_has_a_distance_and_does_not_move() -> None:
    assert hours([ping(0, 0), ping(10_000, 4)]) == {0: {"pings": 2, "distance_mm": 4_000, "longest_silence_ms": 10_000}}


def test_a_step_belongs_to_the_hour_of_its_later_fix() -> None:
    found = hours([ping(3_599_000, 0), ping(3_601_000, 20)])
    assert found[0] == {"pings": 1}
    assert found[1]["distance_mm"] == 20_000


def test_a_jump_is_not_a_movement() -> None:
    found = hours([ping(0, 0), ping(1_000, 5_000), ping(61_000, 5_030)])
    assert found[0]["impossible_steps"] == 1
    assert found[0]["distance_mm"] == 30_000


def test_after_a_long_silence_the_distance_counts_and_the_time_does_not() -> None:
    found = hours([ping(0, 0), ping(400_000, 1_000)])[0]
    assert found == {"pings": 2, "distance_mm": 1_000_000, "longest_silence_ms": 400_000}


def test_a_fix_that_may_be_far_off_is_rejected_and_its_neighbours_joined() -> None:
    found = hours([ping(0, 0), ping(5_000, 900, accuracy=50.1), ping(10_000, 50), ping(11_000, 55, accuracy=None)])[0]
    assert (found["pings"], found["rejected_fixes"], found["distance_mm"]) == (4, 1, 55_000)


def test_late_pings_by_minutes() -> None:
    late_s = [59, 60, 299, 300, 899, 900, 3_599, 3_600, 90_000]
    pings = [ping(n * 1_000, number=n, received_ms=START_MS + (n + s) * 1_000) for n, s in enumerate(late_s)]
    found = hours([*pings, ping(20_000, received_ms=0)])[0]
    assert [found[f"late_{m}_min"] for m in (1, 5, 15, 60)] == [2, 2, 2, 2]


def test_a_ping_that_is_too_late_is_counted_and_not_used() -> None:
    pings = [ping(n * 1_000, n, n) for n in range(KEPT)]
    found = hours([*pings, ping(-500, 77), ping(KEPT * 1_000, KEPT, KEPT)])
    assert found[-1] == {"pings": 1, "too_late": 1}
    assert found[0]["distance_mm"] == KEPT * 1_000


def test_a_late_fix_lowers_the_maximum_of_its_hour() -> None:
    assert hours([ping(0, 0), ping(100_000, 0)])[0]["longest_silence_ms"] == 100_000
    assert hours([ping(0, 0), ping(100_000, 0), ping(50_000, 0, 1)])[0]["longest_silence_ms"] == 50_000


tracks = st.lists(
    st.builds(
        ping,
        st.integers(0, 120).map(lambda n: n * 90_000),
        st.integers(-2_000, 2_000),
        st.integers(0, 10**6),
        st.sampled_from([None, 5.0, 5.0, 50.0, 51.0]),
        st.sampled_from([None, 0, START_MS + 5 * 3_600_000, START_MS + 3_600_000]),
    ),
    max_size=45,
    unique_by=lambda p: (p["event_timestamp_ms"], p["event_id"]),
)


def naive(pings: list[Ping]) -> dict[tuple[str, int], dict[str, int]]:
    """Every row by sorting all fixes that came in time, then walking along them once."""
    rows: dict[tuple[str, int], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    in_time: list[Ping] = []
    for data in pings:
        t_ms = effective_ms(data)
        both = [rows["rider_hours", t_ms // 3_600_000], rows["fleet_minutes", t_ms // 60_000]]
        rejected = data["accuracy_meters"] is not None and data["accuracy_meters"] > 50
        later = sum(identity(kept) > identity(data) for kept in in_time)
        too_late = not rejected and later >= KEPT
        for row in both:
            row["pings"] += 1
            row["rejected_fixes"] += rejected
            row["too_late"] += too_late
        late_min = (data["received_timestamp_ms"] - t_ms) / 60_000 if data["received_timestamp_ms"] else 0
        for low, high in ((1, 5), (5, 15), (15, 60), (60, math.inf)):
            both[0][f"late_{low}_min"] += low <= late_min < high
        if not rejected and not too_late:
            in_time.append(data)
    in_time.sort(key=identity)
    for minute in {effective_ms(data) // 60_000 for data in in_time}:
        rows["fleet_minutes", minute]["riders"] += 1
    for a, b in pairwise(in_time):
        t_ms = effective_ms(b)
        made = step(distance_mm(a, b), t_ms - effective_ms(a))
        for row in (rows["rider_hours", t_ms // 3_600_000], rows["fleet_minutes", t_ms // 60_000]):
            for name, value in zip(("impossible_steps", "distance_mm", "moving_mm", "moving_ms"), made, strict=False):
                row[name] += value
        hour = rows["rider_hours", t_ms // 3_600_000]
        hour["speed_max_mm_s"] = max(hour["speed_max_mm_s"], made.speed_mm_s)
        hour["longest_silence_ms"] = max(hour["longest_silence_ms"], made.silence_ms)
    return {place: {n: v for n, v in row.items() if v} for place, row in rows.items()}


def identity(data: Ping) -> tuple[int, int, str]:
    return effective_ms(data), data["event_timestamp_ms"], data["event_id"]


def distance_mm(a: Ping, b: Ping) -> int:
    """By the spherical law on a meridian: all pings of these tests are on one."""
    return round(6_371_008_800.0 * abs(math.radians(b["latitude"]) - math.radians(a["latitude"])))


def as_naive(rows: dict[tuple[str, Any], RowChange]) -> dict[tuple[str, int], dict[str, int]]:
    found = {}
    for (table, at_s), row in rows.items():
        names = HOUR_SUMS if table == "rider_hours" else MINUTE_SUMS
        columns = dict(zip(names, row.add, strict=True))
        if row.latest is not None:
            columns |= dict(zip(HOUR_MAXIMA, row.latest, strict=True))
        unit_s = 3_600 if table == "rider_hours" else 60
        found[table, round(at_s) // unit_s] = {n: v for n, v in columns.items() if v}
    return found


@given(tracks)
def test_every_row_is_that_of_the_sorted_track(pings: list[Ping]) -> None:
    _, rows = folded(pings)
    assert as_naive(rows) == naive(pings)


@given(tracks, st.randoms(use_true_random=False))
def test_invariant_6_within_the_window_the_order_of_arrival_changes_nothing(pings: list[Ping], chance: Any) -> None:
    pings = pings[:KEPT]
    shuffled = pings.copy()
    chance.shuffle(shuffled)
    (state, rows), (other, others) = folded(pings), folded(shuffled)
    assert encode(state) == encode(other)
    assert as_naive(rows) == as_naive(others)


@given(tracks)
def test_invariant_8_a_decoded_state_folds_on_like_the_original(pings: list[Ping]) -> None:
    (state, rows), (other, others) = folded(pings), folded(pings, through_bytes=True)
    assert encode(state) == encode(other)
    assert rows == others


def test_an_event_that_is_not_a_ping_changes_no_row() -> None:
    state, _ = folded([ping(0)])
    after = fold(state, KeyedEvent("anna", 2, 9, "ShiftStarted", {"event_timestamp_ms": START_MS}))
    assert (after.version, after.position, after.window) == (2, 9, state.window)
    assert changes("anna", after) == []
