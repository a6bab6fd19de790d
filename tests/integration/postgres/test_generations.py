"""Generations in Postgres: numbers, the pointer, and the fold that each is pinned to."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from domain.features.keyed_event import KeyedEvent
from domain.features.speed.window import SpeedState
from infrastructure.postgres.generations import PostgresGenerations, active
from projections.catalogue import PROJECTIONS
from projections.core.projection import Projection
from projections.digest.digest import fold_digest
from projections.rebuild.generations import Generations, NotSwitched, is_kept_up
from projections.speed import SPEED
from tests.support.ports_in_memory.generations import MemoryGenerations

PINNED = {
    "speed": (3, "f79dc4633f5e424ab0f10b20756d1b84"),
    "locations": (2, "807adafeacb9b0684726e7891ed65bad"),
    "analytics": (2, "ad46ba744312d5279cc7b7ea2d28fd79"),
    "deliveries": (1, "9aba47477384117f5bbaaaf01f64a46b"),
    "outcomes": (1, "e102085d4a8850c82c6484c4a1cebccc"),
    "orders": (2, "0d941572ade25f6aa0b20f995c89e963"),
    "traffic": (1, "a5ad25292072bffc6e61c5d1275eb4a6"),
    "calibration": (1, "0e13a8a965c2179d0ebe8a0cf11932bc"),
    "payouts": (1, "aacc750d3e62a5e00a8cc6140d8e3464"),
    "spoofing": (1, "5494c50aa20e1ea416d3407d61e47a6d"),
    "completion": (2, "8f3abba99fd0125e6414ee569cbb8171"),
}
"""The same on every supported Python."""


def another_fold(state: SpeedState, event: KeyedEvent) -> SpeedState:
    return SPEED.fold(state, event)


@pytest.fixture(params=["memory", "postgres"])
def generations(request: pytest.FixtureRequest) -> Generations:
    if request.param == "memory":
        return MemoryGenerations()
    return PostgresGenerations(request.getfixturevalue("engine"))


def test_the_first_is_number_1_and_readers_follow_it(generations: Generations) -> None:
    assert generations.all("speed") == []
    for _ in range(2):
        generations.first(SPEED)
    (first,) = generations.all("speed")
    assert (first.number, first.active, first.state, first.is_of(SPEED)) == (1, True, "following", True)


def test_invariant_9_another_fold_may_not_write(generations: Generations) -> None:
    generations.first(SPEED)
    (first,) = generations.all("speed")
    assert is_kept_up(first, SPEED)
    assert not is_kept_up(first, replace(SPEED, fold_version=SPEED.fold_version + 1))
    assert not is_kept_up(first, replace(SPEED, fold=another_fold))


def test_invariant_9_numbers_are_never_reused(generations: Generations) -> None:
    generations.first(SPEED)
    second = generations.begin(SPEED)
    generations.record(second, "dropped", None)
    assert [g.number for g in generations.all("speed")] == [1]
    assert generations.begin(SPEED).number == 3


def test_the_pointer_moves_at_the_end_of_the_context_or_not_at_all(generations: Generations) -> None:
    generations.first(SPEED)
    second = generations.begin(SPEED)
    generations.record(second, "ready", {"digest": "d", "differing": 0})
    live, new = generations.all("speed")
    assert new.comparison == {"digest": "d", "differing": 0}
    with pytest.raises(ZeroDivisionError), generations.switching(live, new):
        raise ZeroDivisionError
    assert generations.all("speed") == [live, new]
    with generations.switching(live, new):
        assert [g.active for g in generations.all("speed")] == [True, False]
    assert [(g.active, g.state) for g in generations.all("speed")] == [(False, "following"), (True, "following")]


def test_a_switch_from_a_generation_that_is_not_active_is_refused(generations: Generations) -> None:
    generations.first(SPEED)
    second, third = generations.begin(SPEED), generations.begin(SPEED)
    (first,) = (g for g in generations.all("speed") if g.active)
    with generations.switching(first, second):
        pass
    with pytest.raises(NotSwitched, match="not the active one"), generations.switching(first, third):
        pass
    generations.record(third, "dropped", None)
    with pytest.raises(NotSwitched, match="dropped"), generations.switching(second, third):
        pass
    assert [g.number for g in generations.all("speed") if g.active] == [2]


def test_the_active_one_cannot_be_dropped(generations: Generations) -> None:
    generations.first(SPEED)
    (first,) = generations.all("speed")
    generations.record(first, "dropped", None)
    assert generations.all("speed") == [first]


def test_readers_ask_for_the_active_number(engine: Engine) -> None:
    assert active(engine, "speed") is None
    PostgresGenerations(engine).first(SPEED)
    assert active(engine, "speed") == 1


def test_regression_a_fold_whose_file_is_replaced_under_a_running_process_stays_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "fold_of_a_test.py"
    file.write_text("KEPT = 20\n\ndef fold(state, event):\n    return KEPT\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    fold = importlib.import_module("fold_of_a_test").fold
    projection = replace(SPEED, fold=fold)
    before = fold_digest(projection)
    file.write_text("KEPT = 5000\n\ndef fold(state, event):\n    return KEPT\n")
    assert fold_digest(projection) == before


@pytest.mark.parametrize(("projection", "pinned"), [(PROJECTIONS[name], pinned) for name, pinned in PINNED.items()])
def test_the_digest_of_every_fold_is_pinned(projection: Projection[Any], pinned: tuple[int, str]) -> None:
    # Changing a fold or its bytes needs a new fold_version and a rebuild: change PINNED knowingly.
    assert (projection.fold_version, fold_digest(projection)) == pinned


def test_every_projection_has_a_pinned_digest() -> None:
    assert PINNED.keys() == PROJECTIONS.keys()
