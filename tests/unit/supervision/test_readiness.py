"""When ``serve`` says that it is ready, with a clock and answers of the test's own."""

from __future__ import annotations

from infrastructure.supervision.readiness import READINESS_POLL_INTERVAL_S, READY_WITHIN_S, Readiness


class World:
    """What ``/health/ready`` would say, and what the user is told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.missing = "tailer: has never reported"
        self.asked = 0
        self.told: list[str] = []
        self.readiness = Readiness(self.ask, self.told.append, lambda: self.now)

    def ask(self) -> str:
        self.asked += 1
        return self.missing

    def after(self, seconds: float) -> list[str]:
        """What is told within so many seconds of looks."""
        self.told.clear()
        until = self.now + seconds
        while self.now < until:
            self.readiness.look()
            self.now += READINESS_POLL_INTERVAL_S / 2
        return list(self.told)


def test_ready_is_told_once_when_it_is_true_and_not_before() -> None:
    world = World()
    assert world.after(5.0) == []
    world.missing = ""
    assert world.after(5.0) == [""]
    asked = world.asked
    assert world.after(READY_WITHIN_S) == []
    assert world.asked == asked


def test_what_is_missing_is_told_once_in_time_and_ready_when_it_comes_at_last() -> None:
    world = World()
    assert world.after(2 * READY_WITHIN_S) == ["tailer: has never reported"]
    world.missing = ""
    assert world.after(5.0) == [""]
