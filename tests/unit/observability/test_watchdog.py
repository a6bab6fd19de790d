"""A worker that is alive and not moving is told from one that has nothing to do."""

from __future__ import annotations

from infrastructure.observability.lag import silent
from infrastructure.observability.watchdog import END_AFTER_S, GIVE_UP_AFTER_S, STUCK_AFTER_S, Watchdog, WorkSample


def test_a_worker_with_nothing_to_do_is_moving() -> None:
    dog = Watchdog()
    assert {dog.look("speed", WorkSample(n, 10, 0), n * 10.0).state for n in range(30)} == {"moving"}


def test_one_that_goes_round_and_applies_nothing_is_stuck() -> None:
    dog = Watchdog()
    verdicts = [dog.look("speed", WorkSample(n, 10, 5), float(n)) for n in range(130)]
    assert verdicts[int(STUCK_AFTER_S) - 1].state == "moving"
    assert verdicts[int(STUCK_AFTER_S)].state == "stuck"
    assert "none was applied for 30 s" in verdicts[int(STUCK_AFTER_S)].words
    assert not verdicts[int(GIVE_UP_AFTER_S) - 1].give_up
    assert verdicts[int(GIVE_UP_AFTER_S)].give_up
    assert dog.look("speed", WorkSample(130, 11, 4), 130.0).state == "moving"


def test_one_that_does_not_go_round_hangs_also_with_nothing_to_do() -> None:
    dog = Watchdog()
    verdicts = [dog.look("speed", WorkSample(1, 10, 0), float(n)) for n in range(130)]
    assert [verdicts[n].state for n in (29, 30)] == ["moving", "hangs"]
    assert not verdicts[int(END_AFTER_S) - 1].give_up
    assert verdicts[int(END_AFTER_S)].give_up


def test_regression_the_time_of_a_stopped_process_is_not_held_against_its_workers() -> None:
    dog = Watchdog()
    dog.look("speed", WorkSample(1, 10, 5), 0.0)
    assert dog.look("speed", WorkSample(1, 10, 5), 600.0).state == "moving"
    # It goes on counting from there, also when each look comes late.
    late = [dog.look("speed", WorkSample(1, 10, 5), 600.0 + 15.0 * n) for n in range(1, 12)]
    assert late[1].state == "hangs"
    assert late[-1].give_up


def test_a_long_catching_up_in_one_round_is_moving() -> None:
    dog = Watchdog()
    assert {dog.look("speed", WorkSample(1, n * 1000, 9), n * 20.0).state for n in range(30)} == {"moving"}


def test_what_was_stopped_on_purpose_is_forgotten() -> None:
    dog = Watchdog()
    dog.look("speed", WorkSample(1, 10, 0), 0.0)
    dog.forget("speed")
    assert dog.look("speed", WorkSample(1, 10, 0), 500.0).state == "moving"


def test_a_silent_rider_is_told_from_a_late_pipeline() -> None:
    assert silent(1_000, 0, 15_000) == "no"
    assert silent(60_000, 200, 15_000) == "rider"
    assert silent(60_000, 40_000, 15_000) == "pipeline"
    assert silent(60_000, None, 15_000) == "pipeline"
    assert silent(None, 0, 15_000) == "rider"
