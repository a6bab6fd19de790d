"""What is remembered of pure functions: the same results, few of them, and not for long."""

from __future__ import annotations

import pytest

from infrastructure.replay.remembered import Remembered


class Halves:
    """Halves even numbers, and notes what it was called with."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, number: int) -> int:
        self.calls.append(number)
        if number % 2:
            raise ValueError(number)
        return number // 2


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_result_is_made_once_and_an_error_each_time() -> None:
    halves = Halves()
    remembered = Remembered(halves, max_entries=10, max_age_s=60)
    assert [remembered(8), remembered(8), remembered(6), remembered(8)] == [4, 4, 3, 4]
    for _ in range(2):
        with pytest.raises(ValueError, match="7"):
            remembered(7)
    assert halves.calls == [8, 6, 7, 7]


def test_no_more_entries_are_kept_than_allowed_and_those_in_use_stay() -> None:
    """Given many arguments of which one is asked for again and again, then it is made once and the others go."""
    halves = Halves()
    remembered = Remembered(halves, max_entries=10, max_age_s=60)
    for number in range(2, 400, 2):
        assert remembered(number) == number // 2
        assert remembered(0) == 0
        assert len(remembered) <= 10
    assert halves.calls.count(0) == 1
    remembered(2)
    assert halves.calls.count(2) == 2


@pytest.mark.parametrize(("idle_s", "made"), [(29, 1), (59, 2), (61, 2), (5_000, 2)])
def test_what_was_not_asked_for_is_forgotten(idle_s: float, made: int) -> None:
    """Given an entry, when nothing asks for it until its age, then the next call of any argument drops it."""
    halves, clock = Halves(), Clock()
    remembered = Remembered(halves, max_entries=10, max_age_s=60, monotonic=clock)
    remembered(8)
    clock.now_s += idle_s
    remembered(6)
    clock.now_s += 30
    remembered(6)
    remembered(8)
    assert halves.calls.count(8) == made
