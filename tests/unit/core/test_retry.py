"""How long a call is retried while a server is unavailable."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from projections.core.ports import ConsumerUnusable, FenceConflict, PortUnavailable
from projections.core.retry import HEALTHY_AFTER_S, MAX_UNAVAILABLE_S, RETRY_DELAYS_S, RetryPolicy


class Clock:
    """Time passes only when a test lets it pass: by a delay, or by an attempt that takes long."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.paused: list[float] = []

    def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.now_s += seconds


def a_policy(clock: Clock) -> tuple[RetryPolicy, list[str]]:
    said: list[str] = []
    return RetryPolicy(said.append, clock.pause, lambda: clock.now_s), said


def failing(clock: Clock, *took_s: float, error: type[Exception] = PortUnavailable) -> Callable[[], str]:
    """An attempt that fails once for each of ``took_s``, after so many seconds, and then answers."""
    left = list(took_s)

    def attempt() -> str:
        if not left:
            return "answer"
        clock.now_s += left.pop(0)
        raise error(f"{error.__name__} {len(took_s) - len(left)}")

    return attempt


def test_an_attempt_that_succeeds_is_called_once_and_nothing_is_said() -> None:
    clock = Clock()
    policy, said = a_policy(clock)
    assert policy.call(failing(clock)) == "answer"
    assert (clock.paused, said) == ([], [])


@pytest.mark.parametrize("error", [PortUnavailable, ConsumerUnusable, FenceConflict])
def test_what_passes_is_tried_again_with_growing_pauses_and_said_once(error: type[Exception]) -> None:
    clock = Clock()
    policy, said = a_policy(clock)
    assert policy.call(failing(clock, *[0.0] * 7, error=error)) == "answer"
    assert clock.paused == [*RETRY_DELAYS_S, RETRY_DELAYS_S[-1], RETRY_DELAYS_S[-1]]
    assert said == [f"{error.__name__} 1; trying again"]


def test_any_other_error_ends_at_once() -> None:
    clock = Clock()
    policy, said = a_policy(clock)
    with pytest.raises(ValueError, match="ValueError 1"):
        policy.call(failing(clock, 0.0, error=ValueError))
    assert (clock.paused, said) == ([], [])


def test_a_server_that_stays_unavailable_ends_it_with_the_last_error() -> None:
    clock = Clock()
    policy, _ = a_policy(clock)
    began_s = clock.now_s
    with pytest.raises(PortUnavailable, match="PortUnavailable 65"):
        policy.call(failing(clock, *[0.0] * 100))
    # 1.8 s in the first four pauses, 120 s in the 60 after them.
    assert MAX_UNAVAILABLE_S < clock.now_s - began_s <= MAX_UNAVAILABLE_S + RETRY_DELAYS_S[-1]


@pytest.mark.parametrize(("waited_s", "ends"), [(MAX_UNAVAILABLE_S, False), (MAX_UNAVAILABLE_S + 0.5, True)])
def test_the_limit_itself_is_still_waited_for(waited_s: float, ends: bool) -> None:
    clock = Clock()
    policy = RetryPolicy(lambda _: None, lambda _: None, lambda: clock.now_s)
    steps = [HEALTHY_AFTER_S] * int(waited_s / HEALTHY_AFTER_S) + [waited_s % HEALTHY_AFTER_S]
    if ends:
        with pytest.raises(PortUnavailable):
            policy.call(failing(clock, *steps))
    else:
        assert policy.call(failing(clock, *steps)) == "answer"


def test_an_attempt_that_worked_for_a_while_starts_the_time_and_the_pauses_again() -> None:
    clock = Clock()
    policy, said = a_policy(clock)
    long_s = HEALTHY_AFTER_S + 0.5
    attempts = [0.0, 0.0, long_s, 0.0, 0.0]
    assert policy.call(failing(clock, *attempts)) == "answer"
    assert clock.paused == [
        RETRY_DELAYS_S[0],
        RETRY_DELAYS_S[1],
        RETRY_DELAYS_S[0],
        RETRY_DELAYS_S[1],
        RETRY_DELAYS_S[2],
    ]
    assert said == ["PortUnavailable 1; trying again", "PortUnavailable 3; trying again"]


def test_an_attempt_that_just_failed_slowly_does_not_start_them_again() -> None:
    clock = Clock()
    policy, said = a_policy(clock)
    assert policy.call(failing(clock, HEALTHY_AFTER_S, HEALTHY_AFTER_S, HEALTHY_AFTER_S)) == "answer"
    assert clock.paused == list(RETRY_DELAYS_S[:3])
    assert len(said) == 1


def test_many_attempts_that_each_worked_for_a_while_never_end_it() -> None:
    clock = Clock()
    policy, _ = a_policy(clock)
    assert policy.call(failing(clock, *[MAX_UNAVAILABLE_S] * 50)) == "answer"
