"""The robust speed: about zero at rest, the current speed in motion, and robust against one bad fix."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.speed.estimate import explain, robust_speed_mps
from domain.features.speed.fixes import eligible, on_plane
from domain.features.speed.regression import CORRELATION_INFLATION, motion
from domain.features.speed.window import WindowPing
from tests.support.worlds.rides import INTERVALS_S, METRES_PER_DEGREE, START_MS, ride

RADIUS_TO_SIGMA = 1 / 1.515


def noisy(pings: Sequence[WindowPing], rng: random.Random, rho: float, radius_m: float = 10.0) -> list[WindowPing]:
    """The same pings with AR(1) errors, stationary from the first, of 68 % radius ``radius_m``."""
    sigma = radius_m * RADIUS_TO_SIGMA
    x, y = rng.gauss(0, sigma), rng.gauss(0, sigma)
    moved = []
    for ping in pings:
        east = METRES_PER_DEGREE * math.cos(math.radians(ping.latitude))
        moved.append(ping._replace(latitude=ping.latitude + y / METRES_PER_DEGREE, longitude=ping.longitude + x / east))
        fresh = sigma * math.sqrt(1 - rho * rho)
        x, y = rho * x + rng.gauss(0, fresh), rho * y + rng.gauss(0, fresh)
    return moved


def speeds(pings: Sequence[WindowPing], rho: float, count: int, radius_m: float = 10.0) -> Iterator[float]:
    rng = random.Random(20_260_101)
    for _ in range(count):
        speed = robust_speed_mps(noisy(pings, rng, rho, radius_m))
        assert speed is not None
        yield speed


def with_jump(pings: Sequence[WindowPing], place: int, km: float) -> list[WindowPing]:
    jumped = pings[place]._replace(latitude=pings[place].latitude + km * 1000 / METRES_PER_DEGREE)
    return [*pings[:place], jumped, *pings[place + 1 :]]


@pytest.mark.parametrize("accuracy_m", [10.0, None])
@pytest.mark.parametrize("rho", [0, 0.5, 0.9])
@pytest.mark.parametrize("interval_s", INTERVALS_S)
def test_a_parked_phone_does_not_move(interval_s: float, rho: float, accuracy_m: float | None) -> None:
    parked = ride([0.0] * 10, interval_s, accuracy_m=accuracy_m, latitude=48.0)
    still = [speed < 0.5 for speed in speeds(parked, rho, 400)]
    assert sum(still) >= 0.97 * len(still)


@pytest.mark.parametrize("rho", [0, 0.5, 0.9])
@pytest.mark.parametrize("pings", range(2, 10))
def test_a_parked_phone_does_not_move_while_its_window_fills(pings: int, rho: float) -> None:
    still = [speed < 0.5 for speed in speeds(ride([0.0] * pings, 1, accuracy_m=10.0), rho, 300)]
    assert sum(still) >= 0.97 * len(still)


@pytest.mark.parametrize("rho", [0, 0.5, 0.9])
@pytest.mark.parametrize(("interval_s", "speed_mps"), [(1, 8.0), (3, 3.0), (5, 3.0), (10, 3.0), (15, 3.0), (5, 12.0)])
def test_a_steady_rider_keeps_its_speed_through_the_noise(interval_s: float, speed_mps: float, rho: float) -> None:
    steady = ride([speed_mps * interval_s * i for i in range(10)], interval_s, accuracy_m=10.0)
    errors = [speed - speed_mps for speed in speeds(steady, rho, 200)]
    assert abs(median(errors)) <= 0.25
    assert abs(sum(errors) / len(errors)) <= 0.3


@pytest.mark.parametrize("interval_s", INTERVALS_S)
@pytest.mark.parametrize("speed_mps", [1.0, 4.0, 20.0])
def test_the_speed_is_exact_without_noise(interval_s: float, speed_mps: float) -> None:
    assert robust_speed_mps(ride([speed_mps * interval_s * i for i in range(10)], interval_s)) == speed_mps


def test_the_speed_is_the_current_one_of_a_rider_who_starts_or_stops() -> None:
    started = ride([0.0] * 6 + [25.0, 50.0, 75.0, 100.0], accuracy_m=8.0)
    stopped = ride([0.0, 25.0, 50.0, 75.0] + [100.0] * 6, accuracy_m=8.0)
    assert median(speeds(started, 0.5, 100, 8.0)) > 3.5
    assert median(speeds(stopped, 0.5, 100, 8.0)) < 0.5


def test_the_inflation_covers_the_worst_correlation() -> None:
    """Exact, from the gains of the regression itself: the velocity of a unit move of each fix."""
    worst = 0.0
    for interval_s in (1, 2, 3, 5, 10, 15):
        for count in range(2, 11):
            steady = ride([float(i) for i in range(count)], interval_s)
            fixes = [fix._replace(x=0.0) for fix in on_plane(steady, eligible(steady, {}))]
            gains = []
            for i, fix in enumerate(fixes):
                moved = motion([*fixes[:i], fix._replace(x=fix.x + 1.0), *fixes[i + 1 :]])
                assert moved is not None
                gains.append(moved.east)
            white = sum(gain * gain for gain in gains)
            for rho in (step / 20 for step in range(19)):
                pairs = ((a, b) for a in range(count) for b in range(count))
                worst = max(worst, sum(gains[a] * gains[b] * rho ** abs(a - b) for a, b in pairs) / white)
    assert 0.95 * CORRELATION_INFLATION <= worst <= CORRELATION_INFLATION


@pytest.mark.parametrize("km", [1.0, 5.0, 100.0, 9_128.0])
@pytest.mark.parametrize("place", range(10))
@pytest.mark.parametrize("interval_s", [1, 5, 10, 15, 30])
def test_one_jump_changes_little(interval_s: float, place: int, km: float) -> None:
    for speed_mps in (0.0, 6.0):
        window = ride([speed_mps * interval_s * i for i in range(10)], interval_s, accuracy_m=8.0)
        rng = random.Random(7)
        for _ in range(3):
            measured = noisy(window, rng, 0.5, 4.0)
            without, jumped = robust_speed_mps(measured), robust_speed_mps(with_jump(measured, place, km))
            assert without is not None
            assert jumped == pytest.approx(without, abs=1.2)


def test_the_jump_is_blamed_and_not_its_neighbours() -> None:
    window = ride([30.0 * i for i in range(10)])
    for place in range(10):
        for km in (0.5, 50.0):
            verdicts = explain(with_jump(window, place, km))
            assert [i for i, verdict in enumerate(verdicts) if verdict.rejected] == [place]


def test_of_two_places_that_exclude_each_other_the_newer_counts() -> None:
    there_and_back = ride([0.0, 20.0, 40.0, 60.0, 80.0] + [9e6 + 30.0 * i for i in range(5)])
    assert robust_speed_mps(there_and_back) == pytest.approx(6.0, abs=0.1)


def test_imprecise_fixes_alone_give_no_speed() -> None:
    assert robust_speed_mps(ride([30.0 * i for i in range(10)], accuracy_m=51.0)) is None


def test_an_imprecise_fix_among_good_ones_is_left_out() -> None:
    window = ride([30.0 * i for i in range(10)])
    window[4] = window[4]._replace(latitude=0.002, accuracy_m=300.0)
    assert robust_speed_mps(window) == 6.0
    assert explain(window)[4].rejected == "inaccurate"


def test_a_less_precise_fix_weighs_less() -> None:
    window = ride([30.0 * i for i in range(10)])
    window[8] = window[8]._replace(accuracy_m=40.0)
    verdicts = explain(window)
    assert verdicts[8].weight < verdicts[7].weight < verdicts[9].weight


def test_an_old_burst_does_not_dilute_the_present() -> None:
    year_ms = 366 * 86_400_000
    fresh = ride([30.0 * i for i in range(5)])
    for gap_ms in (200_000, year_ms):
        old = [ping._replace(t_ms=ping.t_ms - gap_ms) for ping in ride([-1.0 * i for i in range(1, 6)])]
        assert robust_speed_mps([*old, *fresh]) == robust_speed_mps(fresh) == pytest.approx(6.0, abs=0.01)
    assert robust_speed_mps([*fresh[:1], fresh[1]._replace(t_ms=fresh[1].t_ms + year_ms)]) is None


def test_two_pings_are_enough_only_if_they_are_apart() -> None:
    assert robust_speed_mps([]) is None
    assert robust_speed_mps(ride([0.0])) is None
    assert robust_speed_mps(ride([0.0, 60.0], 0)) is None
    assert robust_speed_mps(ride([0.0, 60.0], 10)) == pytest.approx(6.0, abs=0.1)


@pytest.mark.parametrize(("latitude", "longitude"), [(0.0, 179.999), (60.0, 179.999), (89.99, 0.0), (-89.99, -179.999)])
def test_the_place_on_earth_does_not_matter(latitude: float, longitude: float) -> None:
    there = ride([30.0 * i for i in range(10)], latitude=latitude, longitude=longitude)
    assert robust_speed_mps(there) == pytest.approx(6.0, abs=0.15)


def test_a_ride_across_the_pole_is_a_ride() -> None:
    degrees = [(i - 4.5) * 30.0 / METRES_PER_DEGREE for i in range(10)]
    window = [
        ping._replace(latitude=90.0 - abs(d), longitude=10.0 if d < 0 else -170.0)
        for ping, d in zip(ride([0.0] * 10), degrees, strict=True)
    ]
    assert robust_speed_mps(window) == pytest.approx(6.0, abs=0.01)


def test_a_good_device_speed_replaces_the_lagging_one() -> None:
    window = ride([30.0 * i for i in range(10)])
    assert robust_speed_mps([*window[:-1], window[-1]._replace(speed_mps=7.25)]) == 7.25
    assert robust_speed_mps([*window[:-1], window[-1]._replace(speed_mps=7.25, accuracy_m=30.0)]) == 6.0
    assert robust_speed_mps([*window[:-2], window[-2]._replace(speed_mps=7.25), window[-1]]) == 6.0


@pytest.mark.parametrize("claim", [0.0, 30.0, math.inf, math.nan, -1.0])
def test_a_device_speed_that_contradicts_the_fixes_is_not_used(claim: float) -> None:
    window = ride([30.0 * i for i in range(10)])
    assert robust_speed_mps([*window[:-1], window[-1]._replace(speed_mps=claim)]) == 6.0


@pytest.mark.parametrize("batch", [1, 2, 5, 10])
def test_pings_that_a_clock_ahead_sent_in_one_request_have_a_speed(batch: int) -> None:
    """Issue 13, number 16: they share their reception, and so their time."""
    ahead_ms = 240_000
    sent = ride([8.0 * i for i in range(10)], 1)
    ends = [sent[min(i // batch * batch + batch, 10) - 1].t_ms for i in range(10)]
    window = [
        ping._replace(t_ms=end, ahead_ms=ping.t_ms + ahead_ms - end) for ping, end in zip(sent, ends, strict=True)
    ]
    assert robust_speed_mps(window) == robust_speed_mps(sent) == 8.0
    assert [verdict.event_id for verdict in explain(window)] == [ping.event_id for ping in sent]


arbitrary = st.builds(
    WindowPing,
    st.integers(0, 4)
    | st.integers(0, 300).map(lambda s: START_MS + 1000 * s)
    | st.integers(946_684_800_000, 4_102_444_800_000),
    st.integers(0, 15).map(lambda number: f"{number:032x}"),
    st.sampled_from([-90.0, 0.0, 90.0, 52.0, 52.001]) | st.floats(-90, 90) | st.floats(52.0, 52.01),
    st.sampled_from([-180.0, 0.0, 180.0, 13.0]) | st.floats(-180, 180) | st.floats(13.0, 13.01),
    st.none() | st.floats(0, 40, width=32) | st.floats(0, 2.0**127, width=32),
    st.none() | st.floats(0, 40, width=32) | st.floats(0, 2.0**127, width=32),
    st.just(0) | st.integers(2_001, 300_000),
)
any_window = st.lists(arbitrary, max_size=10, unique_by=lambda ping: ping.order)


@given(any_window, st.randoms(use_true_random=False))
def test_any_window_has_a_finite_speed_that_neither_order_nor_repetition_changes(
    window: list[WindowPing], rng: random.Random
) -> None:
    speed = robust_speed_mps(window)
    assert speed is None or (math.isfinite(speed) and speed >= 0.0 and speed == round(speed, 3))
    shuffled = [*window, *rng.choices(window, k=2)] if window else []
    rng.shuffle(shuffled)
    assert robust_speed_mps(shuffled) == speed


@given(any_window)
def test_the_explanation_belongs_to_the_same_speed(window: list[WindowPing]) -> None:
    verdicts = explain(window)
    in_order = sorted(window, key=lambda ping: ping.order)
    assert [verdict.event_id for verdict in verdicts] == [ping.event_id for ping in in_order]
    assert all(verdict.weight == 0.0 for verdict in verdicts if verdict.rejected)
    expected = 0.0 if robust_speed_mps(window) is None else 1.0
    assert sum(verdict.weight for verdict in verdicts) == pytest.approx(expected)
