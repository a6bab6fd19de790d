"""The watchdog of a subtask: a worker whose call hangs ends its process; one that applies nothing connects again."""

from __future__ import annotations

from infrastructure.flink.worker_watchdog import CHECK_INTERVAL_S, WorkerWatchdog
from infrastructure.observability.watchdog import END_AFTER_S, GIVE_UP_AFTER_S, STUCK_AFTER_S, WorkSample


class ScriptedWorker:
    """Has one generation, whose progress a test sets."""

    def __init__(self) -> None:
        self.sample = WorkSample(0, 0, 0)
        self.calls = True
        self.trouble = ""
        self.restarts = 0

    def samples(self) -> dict[int, WorkSample]:
        if self.calls:
            self.sample = self.sample._replace(beats=self.sample.beats + 1)
        return {1: self.sample}

    def set_trouble(self, number: int, message: str, *, restart: bool) -> None:
        assert number == 1
        self.trouble = message
        self.restarts += restart


class Watched:
    """A worker with its watchdog, and a clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.ended = 0
        self.worker = ScriptedWorker()
        self.watchdog = WorkerWatchdog(self.worker, self._end, lambda: self.now_s)

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds / CHECK_INTERVAL_S) + 1):
            self.watchdog.check()
            self.now_s += CHECK_INTERVAL_S

    def _end(self) -> None:
        self.ended += 1


def test_an_idle_worker_is_left_alone() -> None:
    one = Watched()
    one.pass_time(GIVE_UP_AFTER_S + END_AFTER_S)
    assert (one.worker.trouble, one.worker.restarts, one.ended) == ("", 0, 0)


def test_a_worker_whose_events_wait_shows_it_and_connects_again() -> None:
    one = Watched()
    one.worker.sample = WorkSample(0, 5, lag=10)
    one.pass_time(STUCK_AFTER_S + 1)
    assert "stuck: events wait" in one.worker.trouble
    assert one.worker.restarts == 0
    one.pass_time(GIVE_UP_AFTER_S)
    assert one.worker.restarts > 0
    one.worker.sample = WorkSample(0, 6, lag=10)
    one.pass_time(1)
    assert (one.worker.trouble, one.ended) == ("", 0)


def test_a_worker_whose_call_does_not_return_ends_its_process_so_that_flink_restarts_the_job() -> None:
    one = Watched()
    one.worker.calls = False
    one.pass_time(STUCK_AFTER_S + 1)
    assert "hangs" in one.worker.trouble
    assert one.ended == 0
    one.pass_time(END_AFTER_S - STUCK_AFTER_S)
    assert one.ended > 0
