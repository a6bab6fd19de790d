"""How long a worker waits between two batches."""

from __future__ import annotations

import pytest

from infrastructure.processes.projection_worker import (
    HIGH_THROUGHPUT,
    LOW_LATENCY,
    POLICIES,
    BatchingPolicy,
    poll_delay_s,
)
from infrastructure.processes.worker_groups import point_read_projections
from projections.catalogue import PROJECTIONS

EITHER = pytest.mark.parametrize("policy", [LOW_LATENCY, HIGH_THROUGHPUT])


@EITHER
def test_a_worker_that_found_nothing_polls_again_at_once(policy: BatchingPolicy) -> None:
    assert poll_delay_s(policy, 0, 0.0) == 0.0


@EITHER
def test_a_worker_that_is_behind_does_not_wait(policy: BatchingPolicy) -> None:
    assert poll_delay_s(policy, policy.target_records, 0.5) == 0.0
    assert policy.target_records <= policy.max_records


@EITHER
@pytest.mark.parametrize("took_s", [0.001, 0.004, 0.02])
def test_a_short_batch_is_followed_by_a_short_delay(policy: BatchingPolicy, took_s: float) -> None:
    assert poll_delay_s(policy, 1, took_s) == pytest.approx(3 * took_s)


@EITHER
@pytest.mark.parametrize("took_s", [0.7, 5.0, 600.0])
def test_no_delay_is_longer_than_the_readers_accept(policy: BatchingPolicy, took_s: float) -> None:
    assert poll_delay_s(policy, 1, took_s) == policy.max_wait_s


def test_what_answers_are_read_from_gets_records_at_once_and_what_is_read_later_asks_less_often() -> None:
    waits = {name: POLICIES[projection.batching].fetch_wait_ms for name, projection in PROJECTIONS.items()}
    at_once = {name for name, wait_ms in waits.items() if wait_ms <= 100}
    assert {projection.name for projection in point_read_projections()} <= at_once
    # An ETA needs its order, and the page its riders and orders, as soon as they are recorded.
    assert at_once == {"speed", "orders", "locations", "deliveries"}
    assert {waits[name] for name in waits.keys() - at_once} == {500}
