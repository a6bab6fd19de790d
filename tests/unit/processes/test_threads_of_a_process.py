"""A process ends, whatever happens to its threads: only then does its supervisor start another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from infrastructure.processes.runtime import STUCK_EXIT_CODE, join_or_end_process, running


class Part:
    """Works in a thread until it is stopped, as a group commit does: no daemon."""

    def __init__(self, name: str, stopped: list[str], *, fails: bool = False) -> None:
        self.name = name
        self._stopped = stopped
        self._fails = fails
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._stop.wait)

    def start(self) -> None:
        if self._fails:
            raise RuntimeError(f"{self.name} cannot be started")
        self.thread.start()

    def stop(self) -> None:
        self._stop.set()
        self.thread.join()
        self._stopped.append(self.name)


class StartFails(Exception):
    """What an API process meets between its threads and its first request: a secret that cannot be read."""


def test_regression_threads_end_if_a_process_fails_before_it_serves() -> None:
    """The thread of the group commit kept such an API process alive: it did not serve, and was never restarted."""
    stopped: list[str] = []
    first, second = Part("first", stopped), Part("second", stopped)
    with pytest.raises(StartFails), running(first, second):
        raise StartFails
    assert stopped == ["first", "second"]
    assert not first.thread.is_alive()
    assert not second.thread.is_alive()


def test_parts_that_were_started_end_if_a_later_one_cannot_be_started() -> None:
    stopped: list[str] = []
    with (
        pytest.raises(RuntimeError, match="third cannot"),
        running(
            Part("first", stopped), Part("second", stopped), Part("third", stopped, fails=True), Part("fourth", stopped)
        ),
    ):
        pytest.fail("the block must not run")
    assert stopped == ["first", "second"]


def test_a_part_that_fails_to_stop_leaves_no_other_one() -> None:
    class Stubborn(Part):
        def stop(self) -> None:
            super().stop()
            raise StartFails

    stopped: list[str] = []
    with suppress(StartFails), running(Stubborn("first", stopped), Part("second", stopped)):
        pass
    assert stopped == ["first", "second"]


@pytest.fixture
def hanging() -> Iterator[threading.Thread]:
    released = threading.Event()
    thread = threading.Thread(target=released.wait, daemon=True)
    thread.start()
    yield thread
    released.set()
    thread.join()


def test_regression_a_worker_that_hangs_while_it_stops_ends_its_process(hanging: threading.Thread) -> None:
    """librdkafka's close never returned: the process ran no new generation, and watched none, until it was killed."""
    codes: list[int] = []
    join_or_end_process(hanging, "the worker of speed@2", timeout_s=0.01, end_process=codes.append)
    assert codes == [STUCK_EXIT_CODE]


def test_a_worker_that_stops_ends_nothing_else() -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: None)
    thread.start()
    join_or_end_process(thread, "the worker of speed@2", timeout_s=60.0, end_process=codes.append)
    assert codes == []
