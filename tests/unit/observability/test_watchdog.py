"""The watchdog distinguishes a worker that makes no progress from an idle one."""

from __future__ import annotations

from infrastructure.observability.lag import silence_cause
from infrastructure.observability.watchdog import (
    END_AFTER_S,
    GIVE_UP_AFTER_S,
    STUCK_AFTER_S,
    Watchdog,
    WorkSample,
    WorkState,
)


def test_a_worker_with_nothing_to_do_is_moving() -> None:
    dog = Watchdog()
    assert {dog.observe("speed", WorkSample(n, 10, 0), n * 10.0).state for n in range(30)} == {WorkState.MOVING}


def test_a_worker_whose_loop_runs_and_applies_nothing_is_stuck() -> None:
    dog = Watchdog()
    verdicts = [dog.observe("speed", WorkSample(n, 10, 5), float(n)) for n in range(130)]
    assert verdicts[int(STUCK_AFTER_S) - 1].state == WorkState.MOVING
    assert verdicts[int(STUCK_AFTER_S)].state == WorkState.STUCK
    assert "none was applied for 30 s" in verdicts[int(STUCK_AFTER_S)].message
    assert not verdicts[int(GIVE_UP_AFTER_S) - 1].give_up
    assert verdicts[int(GIVE_UP_AFTER_S)].give_up
    assert dog.observe("speed", WorkSample(130, 11, 4), 130.0).state == WorkState.MOVING


def test_a_worker_whose_loop_does_not_run_hangs_even_with_nothing_to_do() -> None:
    dog = Watchdog()
    verdicts = [dog.observe("speed", WorkSample(1, 10, 0), float(n)) for n in range(130)]
    assert [verdicts[n].state for n in (29, 30)] == [WorkState.MOVING, WorkState.HANGS]
    assert not verdicts[int(END_AFTER_S) - 1].give_up
    assert verdicts[int(END_AFTER_S)].give_up


def test_regression_the_time_of_a_paused_process_does_not_count_as_a_stall_of_its_workers() -> None:
    dog = Watchdog()
    dog.observe("speed", WorkSample(1, 10, 5), 0.0)
    assert dog.observe("speed", WorkSample(1, 10, 5), 600.0).state == WorkState.MOVING
    # Counting resumes from there, even if each observation is late.
    late = [dog.observe("speed", WorkSample(1, 10, 5), 600.0 + 15.0 * n) for n in range(1, 12)]
    assert late[1].state == WorkState.HANGS
    assert late[-1].give_up


def test_a_long_catch_up_in_one_round_is_moving() -> None:
    dog = Watchdog()
    assert {dog.observe("speed", WorkSample(1, n * 1000, 9), n * 20.0).state for n in range(30)} == {WorkState.MOVING}


def test_a_worker_that_was_stopped_on_purpose_is_forgotten() -> None:
    dog = Watchdog()
    dog.observe("speed", WorkSample(1, 10, 0), 0.0)
    dog.forget("speed")
    assert dog.observe("speed", WorkSample(1, 10, 0), 500.0).state == WorkState.MOVING


def test_a_silent_rider_is_distinguished_from_a_late_pipeline() -> None:
    assert silence_cause(1_000, 0, 15_000) == "no"
    assert silence_cause(60_000, 200, 15_000) == "rider"
    assert silence_cause(60_000, 40_000, 15_000) == "pipeline"
    assert silence_cause(60_000, None, 15_000) == "pipeline"
    assert silence_cause(None, 0, 15_000) == "rider"
