"""Verdicts of the leakage battery, its table, and the answers of another interpreter."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from importlib.util import find_spec

import pytest

from benchmarks.leakage.__main__ import main
from benchmarks.leakage.history import REFUSE, Ask, Axis, Event, Feature, Kind, Trap
from benchmarks.leakage.judging import Cell, Verdict, cell, judged
from benchmarks.leakage.other_stores import OtherAnswers, as_json, from_json
from benchmarks.leakage.ridelog_log import Databases
from benchmarks.leakage.stores import (
    NO_AXIS,
    Answer,
    AskedAnswer,
    FeatureStore,
    Outcome,
    Setting,
    not_expressible,
    refused,
    run,
    value,
)
from benchmarks.leakage.table import Column, failures, judged_battery, markdown, tables
from benchmarks.leakage.traps import TRAPS

ASK = Ask(Axis.KNOWN, "anna", 100_000, 1.0, "the second value came later", leaks=(2.0,))


@pytest.mark.parametrize(
    ("ask", "answer", "verdict"),
    [
        (ASK, value(1.0), Verdict.OK),
        (ASK, value(2.0), Verdict.LEAKS),
        (ASK, value(0.5), Verdict.MISSES),
        (ASK, value(None), Verdict.MISSES),
        (ASK, refused("no"), Verdict.REFUSES),
        (ASK, not_expressible("no"), Verdict.NOT_EXPRESSIBLE),
        (ASK._replace(right=None), value(None), Verdict.OK),
        (ASK._replace(right=None), value(2.0), Verdict.LEAKS),
        (ASK._replace(right=None), value(1.0), Verdict.WRONG),
        (ASK._replace(right=REFUSE), refused("detached"), Verdict.OK),
        (ASK._replace(right=REFUSE), value(None), Verdict.MISSES),
        (ASK._replace(right=REFUSE), value(1.0), Verdict.WRONG),
        (ASK._replace(feature=Feature.TOTAL, right=0.6), value(0.1 + 0.2 + 0.3), Verdict.WRONG),
        (ASK._replace(feature=Feature.COUNT, right=0.0, leaks=()), value(0.0), Verdict.OK),
        (ASK._replace(right=0.0, leaks=()), value(None), Verdict.MISSES),
    ],
)
def test_an_answer_has_the_verdict_that_its_question_gives_it(ask: Ask, answer: Answer, verdict: Verdict) -> None:
    assert judged(ask, answer).verdict is verdict


def test_a_cell_shows_the_worst_verdict_of_the_questions_that_can_be_asked() -> None:
    right, leak, missed, silent = (judged(ASK, one) for one in (value(1.0), value(2.0), value(None), refused("")))
    impossible = judged(ASK, not_expressible(""))
    assert cell([right, missed, leak, impossible]) == Cell(Verdict.LEAKS, 1, 3)
    assert cell([right, silent, missed]) == Cell(Verdict.MISSES, 1, 3)
    assert cell([right, impossible]) == Cell(Verdict.OK, 1, 1)
    assert cell([impossible]) == Cell(Verdict.NOT_EXPRESSIBLE, 0, 0)


TRAP = Trap(
    "one value too late",
    Kind.MEASUREMENT,
    "",
    (Event("anna", 0, 0, 1.0, "a"), Event("anna", 50_000, 500_000, 2.0, "b")),
    (ASK, Ask(Axis.EVENT, "anna", 100_000, 2.0, "it had happened"), ASK._replace(axis=Axis.POSITION, after=1)),
)


class ByEventTime:
    """A store that knows event times only."""

    name = "naive"
    settings = (Setting("only", (Axis.KNOWN, Axis.EVENT)),)

    def __init__(self) -> None:
        self._events: list[Event] = []

    def versions(self) -> dict[str, str]:
        return {}

    def load(self, trap: Trap) -> None:
        self._events = list(trap.events)

    def ask(self, ask: Ask, setting: Setting) -> Answer:
        return value(max(e for e in self._events if e.event_ms <= ask.at_ms).value)


def test_a_store_that_leaks_is_seen_and_one_without_an_axis_is_not_blamed_for_it() -> None:
    store: FeatureStore = ByEventTime()
    answers = run(store, (TRAP,))
    assert [one.answer for one in answers] == [value(2.0), value(2.0), not_expressible(NO_AXIS)]
    battery = judged_battery((TRAP,), {store.name: store.settings}, answers)
    column = Column("naive", "only")
    assert [(trap, of, one.verdict) for trap, of, one in failures(battery, "naive")] == [
        (TRAP.name, column, Verdict.LEAKS)
    ]
    assert failures(battery, "another") == []
    known, happened = tables(battery, (TRAP,))
    assert (known.score(column), happened.score(column)) == ((0, 1), (1, 1))
    assert markdown(known) == (
        "| trap | naive: only |\n| --- | --- |\n| one value too late | **leaks** (0/1) |\n| **ok** | **0 of 1** |\n"
    )


def test_the_answers_of_another_interpreter_are_read_as_they_were_written() -> None:
    store: FeatureStore = ByEventTime()
    given = OtherAnswers(
        {store.name: store.settings},
        {store.name: {"naive": "1.0"}},
        [*run(store, (TRAP,)), AskedAnswer("naive", "only", TRAP.name, 0, refused("why"))],
        ["feast"],
    )
    assert from_json(as_json(given)) == given
    for wrong in ("", "[]", "{}", '[{}, {}, [["a", "b"]], []]'):
        with pytest.raises((ValueError, TypeError)):
            from_json(wrong)


@pytest.mark.parametrize("program", ["false", "true"], ids=["that fails", "that prints no answers"])
def test_an_interpreter_of_the_other_stores_is_named_if_it_cannot_run_them(
    program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_databases() -> AbstractContextManager[Databases]:
        raise AssertionError("Ridelog is not run for half a table")

    found = shutil.which(program)
    assert found is not None
    assert main(["--python", found], no_databases) == 2
    assert f"{found} -m benchmarks.leakage.other_stores" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "name"), [("duckdb", "duckdb_joins.DuckDbJoins"), ("pandas", "pandas_joins.PandasJoins")]
)
def test_a_plain_join_by_event_time_leaks_what_was_backfilled(module: str, name: str) -> None:
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed here: `make leakage` runs it in an environment of its own")
    from importlib import import_module

    file, _, adapter = name.partition(".")
    store: FeatureStore = getattr(import_module(f"benchmarks.leakage.{file}"), adapter)()
    backfill = TRAPS[0]
    found = [
        judged(backfill.asks[one.question], one.answer).verdict
        for one in run(store, (backfill,))
        if one.setting == "by event time" and one.answer.outcome is Outcome.VALUE
    ]
    assert found.count(Verdict.LEAKS) == 2
