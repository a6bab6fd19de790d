"""Which keys may be retried and discarded. A discard is permanent, so it is rejected before it is recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from domain.features.keyed_event import KeyedEvent
from domain.features.speed.window import SpeedState
from infrastructure.backends import Backends as Stores
from infrastructure.errors import UserError
from infrastructure.operations.parked_keys import discard, parked_keys, retriable
from projections.speed import SPEED
from tests.unit.rebuild.rebuild_world import CHANGED, HISTORY, World


def fails_at_one_event(state: SpeedState, event: KeyedEvent) -> SpeedState:
    if (event.key, event.version) == ("rider-1", 3):
        raise ValueError("a fault of the new fold")
    return SPEED.fold(state, event)


NEW = replace(CHANGED, fold=fails_at_one_event)


def stores(world: World) -> Stores:
    """Ports without an engine, so that recording a discard fails."""
    sinks = SimpleNamespace(sink=lambda _projection, number: world.sinks[number])
    found: Any = SimpleNamespace(
        generations=world.generations, stores=sinks, log=world.log, decode=json.loads, engine=None
    )
    return cast("Stores", found)


def with_a_key_parked_in_a_generation_that_is_not_served() -> World:
    world = World(HISTORY)
    assert [one.key for one in world.rebuild(NEW).run().parked] == ["rider-1"]
    assert world.serving == 1
    return world


def test_regression_an_event_that_the_served_generation_has_folded_is_not_discarded() -> None:
    world = with_a_key_parked_in_a_generation_that_is_not_served()
    for projection in (SPEED, NEW):
        with pytest.raises(UserError, match="it has folded the event"):
            discard(stores(world), projection, "rider-1", "an operator", "the new fold cannot read it")
    assert world.log.discarded("speed") == frozenset()


def test_a_key_that_is_not_parked_is_not_discarded() -> None:
    with pytest.raises(UserError, match="is not parked in speed"):
        discard(stores(World(HISTORY)), SPEED, "rider-1", "an operator", "why not")


def test_regression_retrying_all_leaves_the_keys_of_other_code_alone() -> None:
    world = with_a_key_parked_in_a_generation_that_is_not_served()
    assert [one.key for one in parked_keys(stores(world), SPEED)] == ["rider-1"]
    assert retriable(stores(world), SPEED) == []
