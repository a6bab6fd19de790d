"""When events are recorded: by the clock, or as history says, and never out of order (invariant 11)."""

from __future__ import annotations

from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.event_store import ClockAhead, OrderBroken
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.event_store.append import MAX_CLOCK_AHEAD_MS, recorded_times
from infrastructure.event_store.log_head import LogHeadRow


def at(*times: int) -> list[LogEvent]:
    return [LogEvent(UUID(int=1), n, "GpsPing", b"", "Rider", "anna", UUID(int=n), 0, t) for n, t in enumerate(times)]


def head_at(recorded_at_ms: int) -> LogHeadRow:
    return LogHeadRow(UUID(int=0), 7, recorded_at_ms, {})


def test_events_that_name_no_time_are_recorded_by_the_clock_that_never_steps_back() -> None:
    assert recorded_times(at(0, 0), head_at(50), 60) == [60, 60]
    assert recorded_times(at(0, 0), head_at(50), 40) == [50, 50]


def test_history_keeps_its_times() -> None:
    assert recorded_times(at(50, 50, 51, 60), head_at(50), 60) == [50, 50, 51, 60]
    assert recorded_times(at(55, 0), head_at(50), 60) == [55, 60]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ((49,), "49 is before the event that precedes it, of 50"),
        ((52, 51), "51 is before the event that precedes it, of 52"),
        ((0, 59), "59 is before the event that precedes it, of 60"),
        ((61,), "61 is ahead of the clock, 60"),
    ],
)
def test_a_time_that_would_break_the_order_is_refused(times: tuple[int, ...], message: str) -> None:
    with pytest.raises(OrderBroken, match=message) as refused:
        recorded_times(at(*times), head_at(50), 60)
    assert refused.value.position == 7


def test_history_may_follow_a_log_whose_clock_ran_ahead() -> None:
    assert recorded_times(at(80), head_at(80), 60) == [80]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), st.integers(0, 20), st.integers(0, 20))
def test_what_is_taken_never_steps_back_and_is_what_was_given(times: list[int], before: int, now: int) -> None:
    latest = max(before, now)
    try:
        taken = recorded_times(at(*times), head_at(before), now)
    except OrderBroken:
        wanted = [before, *(each or latest for each in times)]
        assert max(wanted) > latest or any(a > b for a, b in pairwise(wanted))
        return
    assert taken == [each or latest for each in times]
    assert [before, *taken] == sorted([before, *taken])
    assert taken[-1] <= latest


DATABASE_MS = 1_000_000


@pytest.mark.parametrize("ahead_ms", [-MAX_CLOCK_AHEAD_MS, 0, MAX_CLOCK_AHEAD_MS])
def test_a_clock_may_be_ahead_of_the_database_by_so_much(ahead_ms: int) -> None:
    head = LogHeadRow(UUID(int=0), 7, 50, {}, database_ms=DATABASE_MS)
    assert recorded_times(at(0), head, DATABASE_MS + ahead_ms) == [DATABASE_MS + ahead_ms]


@pytest.mark.parametrize("times", [(0,), (60, 0), (0, 60)])
def test_a_clock_that_is_farther_ahead_records_nothing(times: tuple[int, ...]) -> None:
    ahead_ms = MAX_CLOCK_AHEAD_MS + 1
    head = LogHeadRow(UUID(int=0), 7, 50, {}, database_ms=DATABASE_MS)
    with pytest.raises(ClockAhead) as refused:
        recorded_times(at(*times), head, DATABASE_MS + ahead_ms)
    assert refused.value.ahead_ms == ahead_ms


def test_history_needs_no_clock() -> None:
    head = LogHeadRow(UUID(int=0), 7, 50, {}, database_ms=DATABASE_MS)
    assert recorded_times(at(60, 70), head, DATABASE_MS + MAX_CLOCK_AHEAD_MS + 1) == [60, 70]
    # Without the database's clock there is nothing to compare with.
    assert recorded_times(at(0), head_at(50), 10 * MAX_CLOCK_AHEAD_MS) == [10 * MAX_CLOCK_AHEAD_MS]
