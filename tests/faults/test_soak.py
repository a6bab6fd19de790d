"""Half an hour of load with a random kill every minute: nothing is lost or doubled, memory and slot stay bounded."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from tests.support.faults.processes import NAMES
from tests.support.faults.world import APACHE, PROGRAMS, World, world
from tests.support.reports.proofs import whole
from tests.support.waiting import eventually
from tests.support.worlds.accounting import account_for, missing_in_kafka
from tests.support.worlds.load import Load

RATE, KILLS, KILL_INTERVAL_S = (2_000, 30, 60.0) if whole() else (200, 2, 8.0)
BATCH = 100
BEGAN_S_AGO = 30 * 86_400
"""Half an hour of load is eight days of event time."""
MAX_SLOT_BYTES = 1 << 28
FLAT = 1.5 if whole() else 3.0
"""Most memory of a program in the second half, as a multiple of its maximum in the first half."""


class Measured:
    """Measures the memory of the programs, by name, and the bytes of WAL that the slot keeps, between two kills."""

    def __init__(self, here: World) -> None:
        self._here = here
        self.rss: dict[str, list[int]] = defaultdict(list)
        self.slot: list[int] = []

    def measure(self) -> None:
        for name in PROGRAMS:
            self.rss[name].append(sum(psutil.Process(pid).memory_info().rss for pid in self._here.pids(name)))
        query = text(
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) FROM pg_replication_slots"
            " WHERE slot_name = :name"
        )
        with self._here.engine.connect() as connection:
            found = connection.execute(query, {"name": self._here.settings.slot_name}).scalar()
        self.slot.append(int(found or 0))

    def growth(self, name: str) -> float:
        """Maximum of the second half, divided by that of the first."""
        seen = self.rss[name]
        return max(seen[len(seen) // 2 :]) / max(seen[: len(seen) // 2])


@pytest.mark.proof
def test_nothing_grows_and_nothing_is_lost_through_a_kill_a_minute(
    tmp_path: Path, kafka_jars: Path, record_property: Callable[[str, object], None]
) -> None:
    chance, pause = random.Random(11), threading.Event()
    with world(APACHE, tmp_path, kafka_jars) as here:
        measured = Measured(here)
        with Load(here.ridelog, seed=11, riders=200, batch=BATCH, pace_s=BATCH / RATE, began_s_ago=BEGAN_S_AGO) as load:
            for _ in range(KILLS):
                pause.wait(KILL_INTERVAL_S * (0.75 + chance.random() / 2))  # a load, not a synchronisation
                measured.measure()
                here.kill(chance.choice(NAMES))
            load.finish(RATE)
        account = account_for(here.ridelog, load.acknowledged)
        before = dict.fromkeys(account.seqs, 0)
        eventually(lambda: not missing_in_kafka(here.ridelog, account, before), within_s=60, what="all is in Kafka")
        measured.measure()
    record_property("pings", len(load.acknowledged))
    record_property("sent again", load.retries)
    record_property("most bytes of WAL held", max(measured.slot))
    for name in PROGRAMS:
        record_property(f"most memory of {name}, MB", max(measured.rss[name]) // 1_000_000)
        record_property(f"growth of {name}", round(measured.growth(name), 2))
    assert max(measured.slot) < MAX_SLOT_BYTES
    assert all(measured.growth(name) < FLAT for name in PROGRAMS)
