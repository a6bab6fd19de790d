"""When ``serve`` reports that it is ready, with a fake clock and fake answers."""

from __future__ import annotations

from infrastructure.supervision.readiness import READINESS_POLL_INTERVAL_S, READY_WITHIN_S, Readiness


class ReadinessSetup:
    """What ``/health/ready`` would answer, and what is reported to the user."""

    def __init__(self) -> None:
        self.now = 0.0
        self.missing = "tailer: has never reported"
        self.polls = 0
        self.reported: list[str] = []
        self.readiness = Readiness(self.find_missing, self.reported.append, lambda: self.now)

    def find_missing(self) -> str:
        self.polls += 1
        return self.missing

    def after(self, seconds: float) -> list[str]:
        """What is reported within so many seconds of checks."""
        self.reported.clear()
        until = self.now + seconds
        while self.now < until:
            self.readiness.check()
            self.now += READINESS_POLL_INTERVAL_S / 2
        return list(self.reported)


def test_ready_is_reported_once_and_not_before_it_is_true() -> None:
    setup = ReadinessSetup()
    assert setup.after(5.0) == []
    setup.missing = ""
    assert setup.after(5.0) == [""]
    polls = setup.polls
    assert setup.after(READY_WITHIN_S) == []
    assert setup.polls == polls


def test_what_is_missing_is_reported_once_at_the_deadline_and_ready_when_it_comes_later() -> None:
    setup = ReadinessSetup()
    assert setup.after(2 * READY_WITHIN_S) == ["tailer: has never reported"]
    setup.missing = ""
    assert setup.after(5.0) == [""]
