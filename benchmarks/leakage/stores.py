"""The adapter protocol: what a feature store implements to be run against the battery.

Standard library only: other interpreters import it too.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Protocol

from benchmarks.leakage.history import Ask, Axis, Trap


class Outcome(StrEnum):
    """What came back for a question."""

    VALUE = "value"
    """A value, or null: nothing is known."""
    REFUSED = "refused"
    """An error: the store says that it cannot answer."""
    NOT_EXPRESSIBLE = "not expressible"
    """The store has no way to ask that."""


class Answer(NamedTuple):
    """``why``: the error, or why the question cannot be asked; for a value, nothing."""

    outcome: Outcome
    value: float | None = None
    why: str = ""


def value(found: float | None) -> Answer:
    return Answer(Outcome.VALUE, found)


def refused(why: str) -> Answer:
    return Answer(Outcome.REFUSED, None, why)


def not_expressible(why: str) -> Answer:
    return Answer(Outcome.NOT_EXPRESSIBLE, None, why)


class Setting(NamedTuple):
    """One way to ask a store, a column of the table. Questions on other axes are not expressible with it."""

    name: str
    axes: tuple[Axis, ...]


class FeatureStore(Protocol):
    """A store under test. One trap at a time: ``load`` forgets the one before.

    ``versions``: of what is tested, by package.
    """

    name: str

    @property
    def settings(self) -> tuple[Setting, ...]: ...

    def versions(self) -> dict[str, str]: ...

    def load(self, trap: Trap) -> None:
        """Record the history in order, each step as the store's own users would."""
        ...

    def ask(self, ask: Ask, setting: Setting) -> Answer:
        """Answer one question on an axis of ``setting``, after the whole history."""
        ...


class AskedAnswer(NamedTuple):
    """One answer of a setting of a store to a question of a trap, by their places in the battery."""

    store: str
    setting: str
    trap: str
    question: int
    answer: Answer


NO_AXIS = "no such axis"


def run(store: FeatureStore, traps: tuple[Trap, ...]) -> list[AskedAnswer]:
    """Load each trap and ask every question with every setting."""
    found: list[AskedAnswer] = []
    for trap in traps:
        store.load(trap)
        for setting in store.settings:
            for number, ask in enumerate(trap.asks):
                answer = store.ask(ask, setting) if ask.axis in setting.axes else not_expressible(NO_AXIS)
                found.append(AskedAnswer(store.name, setting.name, trap.name, number, answer))
    return found
