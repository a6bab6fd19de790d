"""The rate and the time left of a fill, also of one that was resumed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infrastructure.operations.projection_task import FillPace


def test_the_events_of_before_a_resume_are_in_no_rate() -> None:
    now = 100.0
    pace = FillPace(lambda: now)
    assert pace.measure(9_000, 10_000) == (0.0, None)
    now = 102.0
    assert pace.measure(9_200, 10_000) == (100.0, 8.0)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**9)), min_size=1, max_size=20))
def test_a_rate_and_a_time_left_are_never_negative(steps: list[tuple[float, int]]) -> None:
    now = 0.0
    pace = FillPace(lambda: now)
    total = sum(events for _, events in steps)
    done = 0
    for seconds, events in steps:
        now += seconds
        done += events
        per_s, left_s = pace.measure(done, total)
        assert per_s >= 0.0
        assert left_s is None or left_s >= 0.0
