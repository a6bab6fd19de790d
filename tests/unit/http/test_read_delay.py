"""The delay between the reads of the log and of a read model: as long as folding takes, and no longer."""

from __future__ import annotations

import pytest

from infrastructure.http.read_delay import STEP_S, ReadDelay

MOST_S = 0.2
TURN_S = 0.25
KEYS = [f"rider-{number}" for number in range(25)]


def turns(delay: ReadDelay, folding_s: float, count: int) -> int:
    """Keys that change through each turn, and are folded after ``folding_s``. Returns how often one was read."""
    waiting: dict[str, float] = {}
    reads = 0
    for turn in range(count):
        # Each key changed at its own part of the turn before.
        waiting |= {f"{key} {turn}": nth / len(KEYS) * TURN_S for nth, key in enumerate(KEYS)}
        age_s = delay.seconds
        ended = [key for key, at_s in waiting.items() if at_s + age_s >= folding_s]
        delay.note(list(waiting), ended)
        reads += len(waiting)
        waiting = {key: at_s + TURN_S for key, at_s in waiting.items() if key not in ended}
    return reads


@pytest.mark.parametrize("folding_s", [0.05, 0.1, 0.18])
def test_a_key_is_read_once_where_folding_takes_less_than_a_turn(folding_s: float) -> None:
    delay = ReadDelay(MOST_S)
    turns(delay, folding_s, 100)
    assert folding_s - 3 * STEP_S <= delay.seconds <= folding_s + STEP_S
    assert turns(delay, folding_s, 100) < 1.15 * 100 * len(KEYS)


def test_the_delay_ends_when_the_read_model_is_fast_again() -> None:
    delay = ReadDelay(MOST_S)
    turns(delay, 1.0, 100)
    assert delay.seconds == MOST_S
    turns(delay, 0.0, 100)
    assert delay.seconds == 0.0


def test_keys_that_are_never_folded_delay_no_other() -> None:
    """Given parked riders that ping in each turn, when all others are folded at once, then nothing waits for them."""
    delay = ReadDelay(MOST_S)
    for _ in range(100):
        delay.note([*KEYS, "parked-1", "parked-2", "parked-3"], KEYS)
    assert delay.seconds == 0.0
