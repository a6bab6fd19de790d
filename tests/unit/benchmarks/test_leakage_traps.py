"""The traps of the leakage battery: each right answer is recomputed here by brute force over the history."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from benchmarks.leakage.history import (
    REFUSE,
    TTL_MS,
    Ask,
    Axis,
    BackUp,
    Detach,
    Event,
    Feature,
    Kind,
    Redefine,
    Restore,
    Trap,
)
from benchmarks.leakage.table_rows import tables_of
from benchmarks.leakage.traps import TRAPS

NAMED = {
    "backfill after the instant",
    "late revision",
    "commit race",
    "clock step",
    "value at the very instant",
    "TTL edge",
    "duplicate",
    "correction of a label",
    "detached beginning of the log",
    "changed fold",
    "float order",
    "restored log",
}

QUESTIONS = [(trap, ask) for trap in TRAPS for ask in trap.asks]


def _id(given: object) -> str:
    if isinstance(given, Trap):
        return given.name
    return f"{given.axis}-{given.entity}-{given.at_ms}" if isinstance(given, Ask) else str(given)


class CommittedEvent(NamedTuple):
    """An event of the history with its place in it, from 1, and whether a restore or a detachment has taken it."""

    place: int
    event: Event
    lost: bool
    detached: bool

    @property
    def happened_ms(self) -> int:
        """A clock more than 2 s ahead of the reception is not believed (invariant 6)."""
        ahead_ms = self.event.event_ms - self.event.created_ms
        return self.event.created_ms if ahead_ms > 2_000 else self.event.event_ms


def committed(trap: Trap) -> list[CommittedEvent]:
    """Every event of the history, without repeats."""
    places: dict[tuple[str, int, str], int] = {}
    found: list[CommittedEvent] = []
    backed_up = 0
    place = 0
    for step in trap.steps:
        if isinstance(step, Event):
            place += 1
            identity = (step.entity, step.event_ms, step.name)
            if identity not in places:
                places[identity] = place
                found.append(CommittedEvent(place, step, lost=False, detached=False))
        elif isinstance(step, Detach):
            found = [one._replace(detached=True) for one in found]
        elif isinstance(step, BackUp):
            backed_up = place
        elif isinstance(step, Restore):
            found = [one._replace(lost=one.place > backed_up) for one in found]
    return found


def counting(trap: Trap, ask: Ask) -> list[CommittedEvent]:
    """The events of the entity that count, as they were before any of them was detached."""
    return [
        one
        for one in committed(trap)
        if one.event.entity == ask.entity and (ask.definition == 1 or not one.event.rough) and _counts(one, ask)
    ]


def _counts(one: CommittedEvent, ask: Ask) -> bool:
    if ask.axis is Axis.POSITION:
        assert ask.after is not None
        # What is served after a restore has not applied what was lost; what was served before has.
        return one.place <= ask.after and (not one.lost or one.place == ask.after)
    if one.lost:
        return False
    return (one.event.committed_ms if ask.axis is Axis.KNOWN else one.happened_ms) <= ask.at_ms


def brute_force(trap: Trap, ask: Ask) -> float | str | None:
    """The right answer."""
    if ask.served_definition not in (None, ask.definition):
        return REFUSE
    found = counting(trap, ask)
    if any(one.lost or one.detached for one in found):
        return REFUSE
    if ask.feature is Feature.COUNT:
        return float(len(found))
    if ask.feature is Feature.TOTAL:
        return math.fsum(one.event.value for one in found)
    if not found:
        return None
    latest = max(found, key=lambda one: (one.happened_ms, one.place))
    if trap.kind is Kind.MEASUREMENT and ask.at_ms - latest.happened_ms > TTL_MS:
        return None
    return latest.event.value


def test_the_twelve_named_traps_and_more_are_there() -> None:
    names = [trap.name for trap in TRAPS]
    assert len(names) == len(set(names))
    assert set(names) >= NAMED
    assert all(trap.story and trap.asks for trap in TRAPS)


@pytest.mark.parametrize(("trap", "ask"), QUESTIONS, ids=_id)
def test_each_right_answer_is_that_of_a_brute_force_over_the_history(trap: Trap, ask: Ask) -> None:
    assert ask.right == brute_force(trap, ask), ask.reason
    assert ask.reason


@pytest.mark.parametrize(("trap", "ask"), QUESTIONS, ids=_id)
def test_a_leak_is_a_value_of_the_history_that_no_event_which_counts_has(trap: Trap, ask: Ask) -> None:
    recomputed = [row.value for step in trap.steps if isinstance(step, Redefine) for row in step.rows]
    assert set(ask.leaks) <= {event.value for event in trap.events} | set(recomputed)
    if ask.feature is Feature.LATEST:
        assert not set(ask.leaks) & {one.event.value for one in counting(trap, ask)}
    assert (ask.after is not None) == (ask.axis is Axis.POSITION)


@pytest.mark.parametrize("trap", TRAPS, ids=_id)
def test_every_trap_asks_for_what_was_known_or_served_and_commits_in_order(trap: Trap) -> None:
    assert any(ask.axis in {Axis.KNOWN, Axis.POSITION} for ask in trap.asks)
    times = [event.committed_ms for event in trap.events]
    assert times == sorted(times)
    assert all(event.created_ms <= event.committed_ms for event in trap.events)
    assert all(ask.after is None or 0 < ask.after <= len(trap.events) for ask in trap.asks)


def tables() -> Iterator[tuple[Trap, list[float], list[float]]]:
    for trap in TRAPS:
        first, second = tables_of(trap)
        yield trap, [row.value for row in first], [row.value for row in second]


def test_the_tables_have_what_a_pipeline_writes() -> None:
    found = {trap.name: (first, second) for trap, first, second in tables()}
    assert found["restored log"] == ([1.0, 3.0], [])
    assert found["detached beginning of the log"] == ([3.0], [])
    assert found["duplicate"] == ([1.0, 2.0, 1.0], [])
    assert found["changed fold"] == ([1.0, 2.0, 3.0], [1.0, 1.0, 3.0])
    assert all(
        first == [event.value for event in trap.events]
        for trap, first, _ in tables()
        if not any(isinstance(step, Detach | Restore) for step in trap.steps)
    )


def test_created_times_are_those_that_the_writers_clock_shows() -> None:
    found = {trap.name: [row.created_ms for row in tables_of(trap).first] for trap in TRAPS}
    assert found["clock step"] == [0, 100_000, 50_000, 51_000, 52_000, 53_000]
    assert found["commit race"] == [20_000, 10_000]
