"""How long a worker waits between two batches."""

from __future__ import annotations

import pytest

from infrastructure.processes.pace import ENOUGH, LONGEST_S, pause_s


def test_whoever_found_nothing_asks_again_at_once() -> None:
    assert pause_s(0, 0.0) == 0.0


def test_whoever_is_behind_does_not_wait() -> None:
    assert pause_s(ENOUGH, 0.5) == 0.0


@pytest.mark.parametrize("took_s", [0.001, 0.004, 0.02])
def test_what_is_done_quickly_is_asked_for_again_soon(took_s: float) -> None:
    assert pause_s(1, took_s) == pytest.approx(3 * took_s)


@pytest.mark.parametrize("took_s", [0.1, 5.0, 600.0])
def test_no_pause_is_longer_than_freshness_allows(took_s: float) -> None:
    assert pause_s(1, took_s) == LONGEST_S
