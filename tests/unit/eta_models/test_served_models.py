"""Which model a process answers with: what it does while the registry does not answer, and how a history is undone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from domain.features.eta.learned.model import LearnedEta
from domain.features.eta.packaged import model_of, packaged_baseline
from domain.features.eta.stand_in import StandIn
from infrastructure.errors import UserError
from infrastructure.eta_models.registry import (
    ModelAction,
    ModelChange,
    ModelRegistry,
    ModelRoles,
    before_last_promotion,
)
from infrastructure.eta_models.served_models import MAX_LOADED_MODELS, LoadedModels, ServedModels
from projections.core.ports import PortUnavailable
from tests.support.eta.small_models import digest_in, model_files

BASELINE = packaged_baseline()
SLOW = model_files("slow", 2.0)


class RegistryInMemory(ModelRegistry):
    """Answers from memory, or not at all."""

    def __init__(self) -> None:
        super().__init__(cast("Any", None))
        self.stored = {digest_in(SLOW): SLOW}
        self.now = ModelRoles()
        self.is_available = True
        self.reads = 0

    def roles(self) -> ModelRoles:
        if not self.is_available:
            raise PortUnavailable("no database")
        return self.now

    def files(self, digest: str) -> dict[str, bytes]:
        self.reads += 1
        return self.stored.get(digest, {})


def served(registry: RegistryInMemory) -> ServedModels:
    return ServedModels(registry, LoadedModels(registry), interval_s=3_600.0)


def test_while_the_registry_does_not_answer_the_model_stays() -> None:
    registry = RegistryInMemory()
    registry.now = ModelRoles(digest_in(SLOW))
    models = served(registry)
    models.poll()
    registry.is_available = False
    registry.now = ModelRoles()
    with pytest.raises(PortUnavailable):
        models.poll()
    assert models.in_use().serving.name == "slow"


def test_a_process_that_does_not_know_which_model_serves_says_so() -> None:
    registry = RegistryInMemory()
    registry.is_available = False
    models = served(registry)
    models.start()
    models.stop()
    assert isinstance(models.in_use().serving, StandIn)
    registry.is_available = True
    models.poll()
    assert models.in_use().serving is BASELINE


def test_a_shadow_that_cannot_be_loaded_leaves_the_serving_model() -> None:
    registry = RegistryInMemory()
    registry.now = ModelRoles(digest_in(SLOW), "0" * 64)
    models = served(registry)
    models.poll()
    assert models.in_use().serving.name == "slow"
    assert models.in_use().shadow is None


def test_models_in_memory_are_bounded_and_read_once() -> None:
    registry = RegistryInMemory()
    many = [model_files("many", 1.0 + number) for number in range(MAX_LOADED_MODELS + 1)]
    registry.stored = {digest_in(files): files for files in many}
    loaded = LoadedModels(registry)
    for files in many + many[1:]:
        assert isinstance(loaded.model_of(digest_in(files)), LearnedEta)
    assert registry.reads == len(many)
    loaded.model_of(digest_in(many[0]))
    assert registry.reads == len(many) + 1


def test_models_of_the_code_need_no_registry() -> None:
    stand_in = StandIn(BASELINE)
    assert model_of(BASELINE.digest) is BASELINE
    found = model_of(stand_in.digest)
    assert isinstance(found, StandIn)
    assert found.digest != BASELINE.digest
    assert model_of("0" * 64) is None


def history(*steps: str | None) -> list[ModelChange]:
    """Promotions of these models; ``undo`` is a roll-back."""
    at, found, promoted = datetime(2026, 1, 1, tzinfo=UTC), list[ModelChange](), list[str | None]()
    for number, step in enumerate(steps, start=1):
        if step == "undo":
            promoted.pop()
        else:
            promoted.append(step)
        action = ModelAction.ROLL_BACK if step == "undo" else ModelAction.PROMOTE
        found.append(ModelChange(number, at, "ann", action, ModelRoles(promoted[-1] if promoted else None)))
    return found


@pytest.mark.parametrize(
    ("steps", "before"),
    [
        (("a",), None),
        (("a", "b"), "a"),
        (("a", "b", "undo"), None),
        (("a", "b", "undo", "c"), "a"),
        (("a", None), "a"),
        (("a", "b", "c", "undo", "undo"), None),
    ],
)
def test_a_roll_back_undoes_the_last_promotion_that_was_not_undone(
    steps: tuple[str | None, ...], before: str | None
) -> None:
    assert before_last_promotion(history(*steps)) == before


@pytest.mark.parametrize("steps", [(), ("a", "undo")])
def test_without_a_promotion_there_is_nothing_to_roll_back(steps: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="no promotion is left"):
        before_last_promotion(history(*steps))
