"""Verdicts on answers, and the cell of a trap in the table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from benchmarks.leakage.history import REFUSE, Ask
from benchmarks.leakage.stores import Answer, Outcome


class Verdict(StrEnum):
    """What an answer is worth. From the worst to the best."""

    LEAKS = "leaks"
    """Only a value that does not count can give this answer: one that came, or happened, later."""
    WRONG = "wrong"
    """Neither a leak nor a lack: an expired value, a sum that depends on the order, an answer that nothing supports."""
    MISSES = "misses"
    """A value that counts is left out, or is silently null."""
    REFUSES = "refuses"
    """An error, where there is a right value."""
    NOT_EXPRESSIBLE = "not expressible"
    """The store has no such question."""
    OK = "ok"


class JudgedAnswer(NamedTuple):
    ask: Ask
    answer: Answer
    verdict: Verdict


class Cell(NamedTuple):
    """One trap on one setting of a store: the worst verdict, and how many of the questions were right."""

    verdict: Verdict
    right: int
    expressible: int


def judged(ask: Ask, answer: Answer) -> JudgedAnswer:
    return JudgedAnswer(ask, answer, _verdict(ask, answer))


def _verdict(ask: Ask, answer: Answer) -> Verdict:
    if answer.outcome is Outcome.NOT_EXPRESSIBLE:
        return Verdict.NOT_EXPRESSIBLE
    if answer.outcome is Outcome.REFUSED:
        return Verdict.OK if ask.right == REFUSE else Verdict.REFUSES
    if ask.right != REFUSE and answer.value == ask.right:
        return Verdict.OK
    if answer.value is not None and answer.value in ask.leaks:
        return Verdict.LEAKS
    if answer.value is None:
        return Verdict.MISSES
    # A value where null or an error is right, or an aggregate that is off: nothing supports it.
    if ask.right is None or ask.right == REFUSE or ask.feature != "latest":
        return Verdict.WRONG
    return Verdict.MISSES


def cell(answers: Sequence[JudgedAnswer]) -> Cell:
    """The cell of a trap. Questions that are not expressible count only if all are."""
    expressible = [one for one in answers if one.verdict is not Verdict.NOT_EXPRESSIBLE]
    if not expressible:
        return Cell(Verdict.NOT_EXPRESSIBLE, 0, 0)
    order = list(Verdict)
    worst = min((one.verdict for one in expressible), key=order.index)
    return Cell(worst, sum(one.verdict is Verdict.OK for one in expressible), len(expressible))
