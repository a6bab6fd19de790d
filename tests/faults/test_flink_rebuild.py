"""A rebuild that a Flink cluster fills is invisible to readers of the running service: switched and rolled back."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.observability.stage_reports import read_stages
from tests.faults.test_rebuild_live import prefill, rebuild
from tests.support.postgres.many_events import many_events
from tests.support.reports.proofs import whole
from tests.support.servers.flink_cluster import missing_environment
from tests.support.waiting import eventually
from tests.support.worlds.accounting import account_for
from tests.support.worlds.flink_on_servers import FlinkOnServers, behind, flink_on_servers
from tests.support.worlds.steady_load import SteadyLoad, SteadyReader

EVENTS = int(os.environ.get("RIDELOG_TEST_FLINK_REBUILD", "5000000"))
SERVED = ("speed", "analytics", "locations")
NAME = "analytics"
HISTORY_RIDERS = max(400, EVENTS // 250)
RIDERS, PREFILL = (1_000, 20_000) if EVENTS >= 1_000_000 else (100, 5_000)
PINGS_PER_S, READS_PER_S = (200, 50) if EVENTS >= 1_000_000 else (60, 30)
CHUNK = 5_000
REBUILD_WITHIN_S = 900.0 + EVENTS / 1_000


@pytest.mark.proof
@pytest.mark.skipif(not whole(), reason="a cluster next to a service takes longer than a test may: make prove")
@pytest.mark.timeout(5_000)
def test_invariant_9_a_rebuild_on_flink_takes_nothing_down(
    tmp_path: Path, kafka_jars: Path, record_property: Callable[[str, object], None]
) -> None:
    """Five million events; RIDELOG_TEST_FLINK_REBUILD is another number."""
    if (lacking := missing_environment()) is not None:
        pytest.skip(lacking)
    riders = [f"steady-{uuid.uuid4().hex[:8]}-{number}" for number in range(RIDERS)]
    settings = {"projections": ",".join(SERVED)}
    with flink_on_servers(tmp_path, kafka_jars, (), settings) as world, Backends(world.settings) as backends:
        # Given a service that has followed a long history
        record_history(world, backends)
        prefill(world.ridelog, riders, PREFILL)
        wait_followed(world, backends)
        account_for(world.ridelog, set())
        with (
            SteadyLoad(world.ridelog, riders, PINGS_PER_S, seed=1) as load,
            SteadyReader(world.ridelog, riders, READS_PER_S, seed=2) as reader,
        ):
            # When the cluster fills a new generation under load, and readers are switched to it and back
            done = rebuild(world.ridelog, NAME, "--engine", "flink", "--workers", "2", timeout_s=REBUILD_WITHIN_S)
            assert (done["verdict"], done["comparison"]["differing"]) == ("switched", 0)
            reader.wait_for_generation(NAME, done["new_generation"])
            assert world.ridelog.cli("rollback-projection", NAME).returncode == 0
            reader.wait_for_generation(NAME, done["live_generation"])
            reader.wait_for_reads(2 * READS_PER_S)
        # Then no reader has noticed, and both generations count every ping
        record_property("fill beside the load, two subtasks", "; ".join(done["filled"]))
        record_property("reads", f"{reader.reads:,}, wrong {len(reader.wrong)}")
        record_property("pings", f"{len(load.acknowledged):,}")
        assert reader.wrong == []
        assert {done["live_generation"], done["new_generation"]} <= reader.generations(NAME)
        account_for(world.ridelog, load.acknowledged)


def record_history(world: FlinkOnServers, backends: Backends) -> None:
    """Record EVENTS pings straight in the event store."""
    recorder = EventRecorder(world.engine)
    for first in range(0, EVENTS, CHUNK):
        count = min(CHUNK, EVENTS - first)
        recorder.insert_events(many_events(backends.codec, count, HISTORY_RIDERS, "history", first))


def wait_followed(world: FlinkOnServers, backends: Backends) -> None:
    """Wait until the service has folded everything."""

    def held() -> int:
        reports = [one for one in read_stages(world.engine) if one.stage in SERVED and one.connected]
        return sum(one.progress.detail.get("shards", 0) for one in reports)

    def left() -> int:
        return sum(behind(backends, name) for name in SERVED)

    eventually(lambda: held() >= SHARDS * len(SERVED), within_s=100, every_s=1.0, what="every shard is followed")
    remaining = left()
    while remaining:
        eventually(functools.partial(lambda before: left() < before, remaining), within_s=100, every_s=1.0, what="less")
        remaining = left()
