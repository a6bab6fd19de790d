"""Invariant 9: which generation is read, and which code may keep it up to date."""

from __future__ import annotations

from dataclasses import replace

import pytest

from projections.digest.digest import fold_digest
from projections.rebuild.generations import MAINTAINED_STATES, Generation, GenerationState, active, is_kept_up
from projections.speed import SPEED

MINE = Generation("speed", 1, SPEED.fold_version, fold_digest(SPEED), True, "following")
STATES: list[GenerationState] = ["filling", "compared", "ready", "following", "dropped"]


@pytest.mark.parametrize("state", STATES)
def test_ready_and_followed_generations_of_this_code_are_kept_up_to_date(state: GenerationState) -> None:
    assert is_kept_up(MINE._replace(state=state), SPEED) == (state in ("ready", "following"))
    assert {"ready", "following"} == MAINTAINED_STATES


@pytest.mark.parametrize("state", STATES)
def test_other_code_keeps_no_generation_up_to_date(state: GenerationState) -> None:
    generation = MINE._replace(state=state)
    assert not is_kept_up(generation, replace(SPEED, fold_version=SPEED.fold_version + 1))
    assert not is_kept_up(generation._replace(fold_digest="0123456789abcdef"), SPEED)


def test_readers_follow_the_active_one() -> None:
    first, second = MINE._replace(active=False), MINE._replace(number=2)
    assert active([first, second]) == second
    assert active([first]) is None
    assert active([]) is None
