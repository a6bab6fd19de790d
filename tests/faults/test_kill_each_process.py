"""kill -9 of each process under load: no acknowledged ping is lost or doubled, and every state is right."""

from __future__ import annotations

import random

import pytest

from tests.support.reports.proofs import whole
from tests.support.waiting import eventually
from tests.support.worlds.accounting import account_for, last_seqs, missing_in_kafka
from tests.support.worlds.load import Load
from tests.support.worlds.ridelog import Ridelog

INSTANTS = 20 if whole() else 1
PACE_S = 0.05
BATCH_PINGS = 25 if whole() else 8
"""A third of the pings in ``make test``, in as many requests: a kill meets as many that wait for their answer."""
PINGS_BEFORE, PINGS_AFTER = 20 * BATCH_PINGS, 10 * BATCH_PINGS
"""The load has no end of its own: a fast machine would reach it before the kill."""


@pytest.mark.proof
@pytest.mark.parametrize("instant", range(INSTANTS))
@pytest.mark.parametrize("name", ["api", "tailer", "projections", "postgres", "redis", "kafka"])
def test_invariant_2_and_3_killed_in_mid_load(ridelog: Ridelog, name: str, instant: int) -> None:
    chance = random.Random(f"{name}/{instant}")
    before = last_seqs(ridelog)
    with Load(ridelog, seed=chance.randrange(1 << 30), batch=BATCH_PINGS, pace_s=PACE_S) as load:
        load.wait_for(chance.randrange(1, PINGS_BEFORE))
        ridelog.kill(name)
        load.finish(PINGS_AFTER)
    account = account_for(ridelog, load.acknowledged)
    if name != "kafka":
        # The embedded broker keeps its log in memory: the projections fill what it lost from the event store.
        eventually(
            lambda: not missing_in_kafka(ridelog, account, before), within_s=60, what="every new seq is in Kafka"
        )
