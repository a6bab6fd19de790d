"""How long a test waits on a slow or busy machine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.time_limits import LONGEST_S, MAX_FACTOR, scaled_s, slowness, stretched_s

limits = st.floats(0.1, 2 * LONGEST_S)
factors = st.floats(0.01, 1_000.0)


def test_a_quiet_machine_waits_as_long_as_the_test_says() -> None:
    assert stretched_s(60.0, slowness=1.0, load=0.4) == 60.0


def test_a_slow_machine_and_a_busy_one_wait_longer() -> None:
    assert stretched_s(60.0, slowness=2.0, load=0.4) == 120.0
    assert stretched_s(60.0, slowness=1.0, load=3.0) == 180.0
    assert stretched_s(60.0, slowness=2.0, load=1.5) == 180.0


def test_a_fast_machine_does_not_wait_less_while_it_is_busy() -> None:
    assert stretched_s(60.0, slowness=0.5, load=2.0) == 120.0


@given(limits, factors, factors)
def test_no_limit_is_shorter_than_the_tests_own_nor_without_a_bound(limit_s: float, slow: float, load: float) -> None:
    found_s = stretched_s(limit_s, slow, load)
    assert limit_s <= found_s <= max(limit_s, LONGEST_S)
    assert found_s <= limit_s * MAX_FACTOR


def test_this_machine_is_measured_once() -> None:
    assert slowness() == slowness() > 0
    assert scaled_s(10.0) >= 10.0
