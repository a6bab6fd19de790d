"""The turns of a demo, on a machine that is quick and on one that is too busy for them."""

from __future__ import annotations

import pytest

from infrastructure.cli.demo_turns import repeat, wait_until


class Machine:
    """A clock, and signals that wait by it. Each call of ``show`` takes ``takes_s``; a signal comes at ``stop_at``."""

    def __init__(self, takes_s: float = 0.0, stop_at: float = float("inf")) -> None:
        self.now = 100.0
        self.shown_at: list[float] = []
        self._began = self.now
        self._takes_s = takes_s
        self._stop_at = stop_at

    def clock(self) -> float:
        return self.now

    def show(self) -> None:
        self.shown_at.append(self.now - self._began)
        self.now += self._takes_s

    @property
    def requests(self) -> int:
        return int(self.now - self._began >= self._stop_at)

    def wait(self, timeout_s: float) -> bool:
        self.now = min(self.now + timeout_s, max(self.now, self._began + self._stop_at))
        return self.requests > 0


@pytest.mark.parametrize(
    ("takes_s", "shown_at"),
    [
        (0.0, [5.0, 10.0, 15.0, 20.0]),
        (4.0, [5.0, 10.0, 15.0, 20.0]),
        (11.0, [5.0, 16.0, 27.0]),
        (60.0, [5.0, 65.0]),
    ],
    ids=["at once", "within a turn", "longer than two turns", "longer than the demo"],
)
def test_a_slow_turn_replaces_those_that_it_missed_but_never_the_last(takes_s: float, shown_at: list[float]) -> None:
    machine = Machine(takes_s)
    repeat(machine.show, machine, 5.0, 20.0, machine.clock)
    assert machine.shown_at == shown_at


def test_without_a_duration_it_ends_by_a_signal() -> None:
    machine = Machine(takes_s=0.5, stop_at=12.0)
    repeat(machine.show, machine, 5.0, None, machine.clock)
    assert machine.shown_at == [5.0, 10.0]


def test_a_demo_that_is_shorter_than_a_turn_shows_nothing() -> None:
    machine = Machine()
    repeat(machine.show, machine, 5.0, 4.0, machine.clock)
    assert machine.shown_at == []


@pytest.mark.parametrize(("answers_at", "waited_s"), [(0.0, 0.0), (3.0, 3.0), (60.0, 10.0)])
def test_it_waits_for_the_first_answers_within_its_limit(answers_at: float, waited_s: float) -> None:
    machine = Machine()
    wait_until(lambda: machine.now - 100.0 >= answers_at, machine, 10.0, machine.clock)
    assert machine.now - 100.0 == waited_s


def test_a_signal_ends_the_wait() -> None:
    machine = Machine(stop_at=2.0)
    wait_until(lambda: False, machine, 10.0, machine.clock)
    assert machine.now - 100.0 == 2.0
