"""Servers wiped or killed in the middle of a rebuild: it waits, resumes where it was, and gives the right result."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable

import pytest

from infrastructure.redis.connection import connect_server
from tests.faults.test_rebuild_live import FILLS, PHASES, prefill, rebuild_in
from tests.support.faults.world import pause
from tests.support.reports.proofs import whole
from tests.support.time_limits import scaled_s
from tests.support.worlds.accounting import account_for
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.steady_load import SteadyLoad

PREFILL = 200_000 if whole() else 10_000
INSTANTS = 10 if whole() else 1
PINGS_PER_S = 500 if whole() else 100
FILL_S = 0.5 if whole() else 0.1
"""Shorter than the new generation is filled, so that a fault within it meets the fill."""


def wipe_redis(ridelog: Ridelog) -> None:
    client = connect_server(ridelog.info.redis_url)
    client.flushall()
    client.close()


def wipe_kafka(ridelog: Ridelog) -> None:
    ridelog.kill("kafka")  # the embedded broker keeps its log in memory


def restart_postgres(ridelog: Ridelog) -> None:
    ridelog.kill("postgres")


FAULTS: dict[str, Callable[[Ridelog], None]] = {
    "redis wiped": wipe_redis,
    "kafka wiped": wipe_kafka,
    "postgres killed": restart_postgres,
}


@pytest.mark.proof
@pytest.mark.parametrize("instant", range(INSTANTS))
@pytest.mark.parametrize("fault", FAULTS)
def test_a_rebuild_survives_the_loss_of_a_server(ridelog: Ridelog, fault: str, instant: int) -> None:
    riders = [f"fault-{uuid.uuid4().hex[:8]}-{number}" for number in range(100)]
    prefill(ridelog, riders, PREFILL)
    chance = random.Random(f"{fault}/{instant}")
    with SteadyLoad(ridelog, riders, PINGS_PER_S, seed=instant) as load:
        phase = chance.choice(PHASES)
        process = rebuild_in(ridelog, "speed", phase)
        pause(chance.uniform(0.0, FILL_S) if phase == FILLS else 0.0)
        assert process.poll() is None, "the rebuild ended before the fault"
        FAULTS[fault](ridelog)
        said, _ = process.communicate(timeout=scaled_s(180))
        assert process.returncode == 0, said
    assert load.acknowledged
    account_for(ridelog, load.acknowledged)
