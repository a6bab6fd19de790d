"""How long a worker waits between two batches."""

from __future__ import annotations

import pytest

from infrastructure.processes.projection_worker import HIGH_THROUGHPUT, LOW_LATENCY, BatchingPolicy, poll_delay_s

EITHER = pytest.mark.parametrize("pace", [LOW_LATENCY, HIGH_THROUGHPUT])


@EITHER
def test_whoever_found_nothing_asks_again_at_once(pace: BatchingPolicy) -> None:
    assert poll_delay_s(pace, 0, 0.0) == 0.0


@EITHER
def test_whoever_is_behind_does_not_wait(pace: BatchingPolicy) -> None:
    assert poll_delay_s(pace, pace.enough, 0.5) == 0.0
    assert pace.enough <= pace.at_most


@EITHER
@pytest.mark.parametrize("took_s", [0.001, 0.004, 0.02])
def test_what_is_done_quickly_is_asked_for_again_soon(pace: BatchingPolicy, took_s: float) -> None:
    assert poll_delay_s(pace, 1, took_s) == pytest.approx(3 * took_s)


@EITHER
@pytest.mark.parametrize("took_s", [0.7, 5.0, 600.0])
def test_no_pause_is_longer_than_its_readers_allow(pace: BatchingPolicy, took_s: float) -> None:
    assert poll_delay_s(pace, 1, took_s) == pace.longest_s
