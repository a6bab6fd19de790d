"""The table of the battery: a line for each trap, a column for each setting of a store. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.leakage.history import Axis, Trap
from benchmarks.leakage.judging import Cell, JudgedAnswer, Verdict, cell, judged
from benchmarks.leakage.stores import AskedAnswer, Setting


class Column(NamedTuple):
    """One setting of a store."""

    store: str
    setting: str


class BatteryTable(NamedTuple):
    """One part of the battery. A cell is missing if the trap has no question of the part."""

    title: str
    columns: tuple[Column, ...]
    traps: tuple[str, ...]
    cells: Mapping[tuple[str, Column], Cell]

    def score(self, column: Column) -> tuple[int, int]:
        """Traps that are ok, of those whose questions can be asked in that column."""
        found = [self.cells[trap, column] for trap in self.traps if (trap, column) in self.cells]
        asked = [one for one in found if one.verdict is not Verdict.NOT_EXPRESSIBLE]
        return sum(one.verdict is Verdict.OK for one in asked), len(asked)


class JudgedBattery(NamedTuple):
    """Everything of one run, by column and trap."""

    answers: Mapping[tuple[str, Column], list[JudgedAnswer]]
    settings: Mapping[Column, Setting]


KNOWN_THEN = ("What could be known at the instant: rows to train on", (Axis.KNOWN, Axis.POSITION))
HAD_HAPPENED = ("What had happened by the instant: labels and audits", (Axis.EVENT,))


def judged_battery(
    traps: Sequence[Trap], settings: Mapping[str, tuple[Setting, ...]], answers: Sequence[AskedAnswer]
) -> JudgedBattery:
    """Judge the answers of all stores."""
    columns = {Column(store, setting.name): setting for store, of in settings.items() for setting in of}
    by_name = {trap.name: trap for trap in traps}
    found: dict[tuple[str, Column], list[JudgedAnswer]] = {}
    for one in answers:
        ask = by_name[one.trap].asks[one.question]
        found.setdefault((one.trap, Column(one.store, one.setting)), []).append(judged(ask, one.answer))
    return JudgedBattery(found, columns)


def tables(battery: JudgedBattery, traps: Sequence[Trap]) -> list[BatteryTable]:
    """Both parts: what was known, and what had happened."""
    return [_table(battery, traps, title, axes) for title, axes in (KNOWN_THEN, HAD_HAPPENED)]


def _table(battery: JudgedBattery, traps: Sequence[Trap], title: str, axes: tuple[Axis, ...]) -> BatteryTable:
    columns = tuple(column for column, setting in battery.settings.items() if set(setting.axes) & set(axes))
    cells: dict[tuple[str, Column], Cell] = {}
    names = []
    for trap in traps:
        if not any(ask.axis in axes for ask in trap.asks):
            continue
        names.append(trap.name)
        for column in columns:
            of_part = [one for one in battery.answers.get((trap.name, column), []) if one.ask.axis in axes]
            if of_part:
                cells[trap.name, column] = cell(of_part)
    return BatteryTable(title, columns, tuple(names), cells)


def failures(battery: JudgedBattery, store: str) -> list[tuple[str, Column, JudgedAnswer]]:
    """Answers of a store that are not right, where the question can be asked."""
    passing = (Verdict.OK, Verdict.NOT_EXPRESSIBLE)
    return [
        (trap, column, one)
        for (trap, column), answers in battery.answers.items()
        if column.store == store
        for one in answers
        if one.verdict not in passing
    ]


def shown(one: Cell | None) -> str:
    """The text of a cell: the verdict, and how many questions were right if not all."""
    if one is None:
        return ""
    if one.verdict in {Verdict.OK, Verdict.NOT_EXPRESSIBLE}:
        return "ok" if one.verdict is Verdict.OK else "–"
    return f"{one.verdict} ({one.right}/{one.expressible})"


def markdown(table: BatteryTable) -> str:
    """A table in Markdown, with the scores in the last line."""
    head = ["trap", *(f"{column.store}: {column.setting}" for column in table.columns)]
    lines = [head, ["---"] * len(head)]
    lines += [
        [trap, *(_emphasised(shown(table.cells.get((trap, column)))) for column in table.columns)]
        for trap in table.traps
    ]
    scores = [table.score(column) for column in table.columns]
    lines.append(["**ok**", *(f"**{right} of {asked}**" for right, asked in scores)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _emphasised(text: str) -> str:
    return text.replace(Verdict.LEAKS, f"**{Verdict.LEAKS}**")
