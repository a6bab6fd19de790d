"""Each fault of docs/guarantees.md at random instants of a load: no acknowledged ping is lost, doubled or misfolded."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.faults.every import runs
from tests.support.faults.fault import Fault
from tests.support.faults.world import EMBEDDED, World, world
from tests.support.reports.proofs import whole
from tests.support.waiting import eventually
from tests.support.worlds.accounting import account_for, last_seqs, missing_in_kafka
from tests.support.worlds.load import Load

PACE_S, LONG_PACE_S = (0.05, 0.05) if whole() else (0.05, 0.25)
"""In ``make test``, fewer requests meet the later seconds of a long fault. As many meet its begin and its end."""
BATCH_PINGS = 25 if whole() else 8
"""A third of the pings in ``make test``, in as many requests: a fault meets as many that wait for their answer."""
FIRST_PINGS, LAST_PINGS = 20 * BATCH_PINGS, 10 * BATCH_PINGS
"""The fault is within the first, and as many as the last are acknowledged after it, before the account is checked."""
EVENTS_OF_A_WORLD = 50_000
"""After so many the test starts a new log, because each account reads the whole log."""


class Worlds:
    """The running world, for all faults that it fits; one that did not survive its fault is replaced."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._stack = ExitStack()
        self._now: tuple[tuple[str, bool], World] | None = None
        self.events = 0
        """Faults injected on the log of the running world."""
        self.is_right = True

    def get(self, request: pytest.FixtureRequest, broker: str, small_disk: bool) -> World:
        spent = self.events > EVENTS_OF_A_WORLD or not self.is_right
        if self._now is None or self._now[0] != (broker, small_disk) or spent:
            self.close()
            jars = None if broker == EMBEDDED else request.getfixturevalue("kafka_jars")
            if small_disk and (os.geteuid() != 0 or shutil.which("mount") is None):
                pytest.skip("a small file system can be mounted by root only")
            folder = self._factory.mktemp("world")
            one = self._stack.enter_context(world(broker, folder, jars, small_disk=small_disk))
            self._now, self.events = ((broker, small_disk), one), 0
        self.is_right = False
        return self._now[1]

    def close(self) -> None:
        self._now = None
        self._stack.close()


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    one = Worlds(tmp_path_factory)
    yield one
    one.close()


def named(value: object) -> str:
    name = value.name if isinstance(value, Fault) else str(value)
    return name.replace(" ", "-")


@pytest.mark.proof
@pytest.mark.parametrize(("broker", "fault", "instant"), runs(), ids=named)
def test_invariants_1_to_4_hold_through(
    worlds: Worlds,
    request: pytest.FixtureRequest,
    broker: str,
    fault: Fault,
    instant: int,
    record_property: Callable[[str, object], None],
) -> None:
    record_property("fault", fault.name)
    record_property("broker", broker)
    here = worlds.get(request, broker, fault.small_disk)
    chance = random.Random(f"{fault.name}/{broker}/{instant}")
    before = last_seqs(here.ridelog)
    with Load(
        here.ridelog, seed=chance.randrange(1 << 30), batch=BATCH_PINGS, pace_s=PACE_S, long_pace_s=LONG_PACE_S
    ) as load:
        load.wait_for(chance.randrange(1, FIRST_PINGS))
        fault.inject(here, chance)
        load.finish(LAST_PINGS)
    ended = time.monotonic()
    account = account_for(here.ridelog, load.acknowledged)
    if broker not in fault.wipes:
        eventually(
            lambda: not missing_in_kafka(here.ridelog, account, before), within_s=60, what="every new seq is in Kafka"
        )
    record_property("pings", len(load.acknowledged))
    record_property("sent again", load.retries)
    record_property("right after s", round(time.monotonic() - ended, 1))
    eventually(lambda: here.ridelog.http.get("/health/ready").status_code == 200, within_s=60, what="it is ready")
    worlds.events, worlds.is_right = account.events, True
