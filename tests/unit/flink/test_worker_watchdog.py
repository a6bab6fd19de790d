"""The watchdog of a subtask: a worker whose call hangs ends its process; one that applies nothing connects again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from queue import SimpleQueue

import psutil

from infrastructure.flink.partition_worker import samples_of
from infrastructure.flink.worker_watchdog import (
    CHECK_INTERVAL_S,
    HUNG_EXIT_CODE,
    WorkerWatchdog,
    end_if_closed,
    when_ended,
)
from infrastructure.observability.watchdog import (
    END_AFTER_S,
    GIVE_UP_AFTER_S,
    STUCK_AFTER_S,
    Watchdog,
    WorkSample,
    WorkState,
)
from tests.support.time_limits import scaled_s


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

    def _end(self, message: str) -> None:
        assert "Flink restarts the job" in message
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


def test_regression_a_generation_that_waits_while_another_one_catches_up_does_not_hang() -> None:
    """One thread drives both; the call in which the first one fills from the log takes minutes."""
    now_s, verdicts = 0.0, []
    watchdog = Watchdog()
    for applied in range(int(3 * END_AFTER_S)):
        samples = samples_of(1, {1: (applied, 1_000), 2: (7, 1_000)})
        verdicts.append(watchdog.observe("2", samples[2], now_s).state)
        now_s += CHECK_INTERVAL_S
    assert WorkState.HANGS not in verdicts
    assert verdicts[-1] is WorkState.STUCK, "its events do wait"


def test_a_worker_that_cannot_be_classified_once_stays_watched() -> None:
    failed = threading.Event()

    class FailsOnce(ScriptedWorker):
        def samples(self) -> dict[int, WorkSample]:
            if not failed.is_set():
                failed.set()
                raise RuntimeError("no sample")
            seen_again.set()
            return super().samples()

    seen_again = threading.Event()
    watchdog = WorkerWatchdog(FailsOnce(), lambda message: None)
    watchdog.start()
    assert seen_again.wait(scaled_s(20.0))
    watchdog.stop()


def test_a_worker_that_hangs_leaves_the_reason_and_its_stacks_beside_flinks_logs(tmp_path: Path) -> None:
    program = "from infrastructure.flink.worker_watchdog import end_process; end_process('it hangs')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "FLINK_LOG_DIR": str(tmp_path)},
        timeout=scaled_s(60.0),
        check=False,
    )
    [log] = tmp_path.iterdir()
    assert done.returncode == HUNG_EXIT_CODE
    assert log.read_text().startswith("it hangs\n")
    assert "end_process" in log.read_text()


def test_a_worker_whose_call_does_not_return_ends_its_process_so_that_flink_restarts_the_job() -> None:
    one = Watched()
    one.worker.calls = False
    one.pass_time(STUCK_AFTER_S + 1)
    assert "hangs" in one.worker.trouble
    assert one.ended == 0
    one.pass_time(END_AFTER_S - STUCK_AFTER_S)
    assert one.ended > 0


def test_a_worker_whose_function_was_closed_ends_if_flink_does_not_end_it() -> None:
    messages: SimpleQueue[str] = SimpleQueue()
    timer = end_if_closed(messages.put, after_s=0.0)
    assert "the function was closed" in messages.get(timeout=scaled_s(20.0))
    assert timer.daemon, "a process that Flink ends must not wait for it"


def test_a_worker_ends_after_its_taskmanager_and_not_before() -> None:
    """Given a process that has ended and that its parent has not waited for: it is in the list of processes."""
    taskmanager = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ended = threading.Event()
    when_ended(psutil.Process(taskmanager.pid), ended.set)
    assert not ended.wait(2 * CHECK_INTERVAL_S)
    taskmanager.kill()
    assert ended.wait(scaled_s(20))
    taskmanager.communicate()
