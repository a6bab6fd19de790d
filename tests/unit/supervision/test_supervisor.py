"""The decisions of the supervisor, with a fake clock and fake services."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from pathlib import Path
from signal import SIGTERM

import pytest

from infrastructure.embedded.pid_file import PidFile
from infrastructure.errors import UserError
from infrastructure.supervision.supervisor import (
    HEALTHY_AFTER_S,
    REPAIR_RETRY_INTERVAL_S,
    RESTART_DELAYS_S,
    RestartBackoff,
    Supervisor,
)

FIRST_RESTART_DELAY_S, MAX_RESTART_DELAY_S = RESTART_DELAYS_S[0], RESTART_DELAYS_S[-1]


class FakeService:
    """A service that ends and starts as the test says."""

    stop_steps = ((SIGTERM, 1.0),)
    child = None

    def __init__(self, directory: Path, failing_starts: int = 0) -> None:
        self.name = "fake"
        self.log_path = directory / "fake.log"
        self.alive = True
        self.starts = 0
        self._failing = failing_starts

    def is_alive(self) -> bool:
        return self.alive

    def spawn(self) -> None:
        if self._failing:
            self._failing -= 1
            raise UserError("not now")
        self.starts += 1
        self.alive = True

    def stop(self) -> None:
        self.alive = False


class ManualClock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def supervise(fake: FakeService, clock: ManualClock, repair: Callable[[], None] | None = None) -> Supervisor:
    repairs = {"fake": repair} if repair else {}
    return Supervisor([fake], PidFile(fake.log_path.parent), repairs, clock)


def test_a_service_that_ends_is_restarted_after_the_delay_and_not_before(tmp_path: Path) -> None:
    fake, clock = FakeService(tmp_path), ManualClock()
    supervisor = supervise(fake, clock)
    fake.alive = False
    supervisor.check()
    clock.now += FIRST_RESTART_DELAY_S * 0.9
    supervisor.check()
    assert fake.starts == 0
    clock.now += FIRST_RESTART_DELAY_S * 0.2
    supervisor.check()
    assert (fake.starts, fake.alive) == (1, True)


def test_regression_a_full_disk_stops_no_running_service(tmp_path: Path) -> None:
    class FullDisk(PidFile):
        def record(self, running: Mapping[str, tuple[int, int]]) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    fake, clock = FakeService(tmp_path), ManualClock()
    supervisor = Supervisor([fake], FullDisk(tmp_path), {}, clock)
    fake.alive = False
    for _ in range(2):
        supervisor.check()
        clock.now += MAX_RESTART_DELAY_S
    assert fake.starts == 1


def test_a_failed_start_is_retried(tmp_path: Path) -> None:
    fake, clock = FakeService(tmp_path, failing_starts=2), ManualClock()
    supervisor = supervise(fake, clock)
    fake.alive = False
    for _ in range(8):
        supervisor.check()
        clock.now += MAX_RESTART_DELAY_S
    assert fake.starts == 1


def test_each_end_is_logged_in_one_line_that_names_the_log_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake, clock = FakeService(tmp_path), ManualClock()
    fake.log_path.write_text("first\nout of luck\n")
    supervisor = supervise(fake, clock)
    fake.alive = False
    supervisor.check()
    supervisor.check()
    (message,) = caplog.messages
    assert "out of luck" in message
    assert str(fake.log_path) in message


@pytest.mark.parametrize(
    "usual",
    ["2026-11-23T12:00:00.000+00:00 INFO    api: all is well", '{"at": "2026-11-23", "level": "info", "message": "x"}'],
)
def test_an_end_is_logged_with_its_cause_and_not_with_the_usual_lines_after_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, usual: str
) -> None:
    fake, clock = FakeService(tmp_path), ManualClock()
    cause = "2026-11-23T12:00:00.000+00:00 ERROR   api: the disk is full"
    fake.log_path.write_text(f"{usual}\n{cause}\n" + f"{usual}\n" * 200)
    supervisor = supervise(fake, clock)
    fake.alive = False
    supervisor.check()
    (message,) = caplog.messages
    assert "the disk is full" in message
    assert "well" not in message


def test_a_repair_after_a_restart_is_retried_until_it_succeeds(tmp_path: Path) -> None:
    fake, clock, tries = FakeService(tmp_path), ManualClock(), []

    def repair() -> None:
        tries.append(clock.now)
        if len(tries) < 3:
            raise OSError("no topics yet")

    supervisor = supervise(fake, clock, repair)
    supervisor.check()
    assert tries == []
    fake.alive = False
    for _ in range(8):
        supervisor.check()
        clock.now += REPAIR_RETRY_INTERVAL_S
    assert len(tries) == 3


def test_a_held_service_stays_stopped_until_it_is_released(tmp_path: Path) -> None:
    fake, clock = FakeService(tmp_path), ManualClock()
    supervisor = supervise(fake, clock)
    supervisor.hold("fake")
    for _ in range(4):
        clock.now += MAX_RESTART_DELAY_S
        supervisor.check()
    assert (fake.starts, fake.alive) == (0, False)
    supervisor.release("fake")
    assert (fake.starts, fake.alive) == (1, True)


def test_an_intended_restart_is_done_once_the_service_is_repaired(tmp_path: Path) -> None:
    fake, clock, tries = FakeService(tmp_path), ManualClock(), []
    supervisor = supervise(fake, clock, lambda: tries.append(1))
    supervisor.restart("fake")
    assert not supervisor.is_repaired("fake")
    supervisor.check()
    assert supervisor.is_repaired("fake")
    assert (fake.starts, tries) == (1, [1])


def test_the_delay_doubles_up_to_its_limit_and_starts_over_after_a_healthy_run() -> None:
    backoff = RestartBackoff(0.0)
    now, delays = 0.0, []
    for _ in range(8):
        backoff.on_started(now)
        delays.append(backoff.delay_s(now + 1.0))
        now += 1.0
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, MAX_RESTART_DELAY_S, MAX_RESTART_DELAY_S, MAX_RESTART_DELAY_S]
    backoff.on_started(now)
    assert backoff.delay_s(now + HEALTHY_AFTER_S) == FIRST_RESTART_DELAY_S
