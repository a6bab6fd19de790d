"""Runner and Flink change places under a load of pings and reads, and no read notices."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.observability.stage_reports import FLINK_DETAIL, read_stages
from tests.faults.test_rebuild_live import prefill
from tests.support.reports.proofs import whole
from tests.support.servers.flink_cluster import missing_environment
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually
from tests.support.worlds.accounting import account_for
from tests.support.worlds.flink_on_servers import WITHIN_S, FlinkOnServers, flink_on_servers
from tests.support.worlds.steady_load import SteadyLoad, SteadyReader

NAMES = ("speed", "analytics", "locations")
PINGS_PER_S = int(os.environ.get("RIDELOG_TEST_FLINK_PINGS_PER_S", "1000"))
READS_PER_S = max(20, PINGS_PER_S // 10)
RIDERS = 2 * PINGS_PER_S
PREFILL = 100 * PINGS_PER_S
PINGS_OF_A_PHASE, READS_OF_A_PHASE = 10 * PINGS_PER_S, 100
"""Pings that each engine follows alone, and reads that are answered meanwhile, at least."""


@contextmanager
def runner(world: FlinkOnServers) -> Iterator[None]:
    """The process of ``serve`` that follows the projections, started alone, as on a machine of its own."""
    command = [sys.executable, "app.py", "process", "projections", "--of", ",".join(NAMES)]
    process = subprocess.Popen(command, cwd=ROOT, env={**world.ridelog.env, **world.settings.environment()})
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


class Places:
    """Which engine follows the projections, as their workers report."""

    def __init__(self, world: FlinkOnServers, backends: Backends) -> None:
        self._world = world
        self._engine = backends.engine

    def wait_followed(self, *, on_flink: bool) -> None:
        """Wait until workers of the engine hold every shard of every projection."""
        eventually(
            lambda: all(self._held(name, on_flink) >= SHARDS for name in NAMES),
            within_s=WITHIN_S,
            every_s=0.5,
            what="every shard is followed",
        )

    def _held(self, name: str, on_flink: bool) -> int:
        found = [
            report.progress.detail for report in read_stages(self._engine) if report.stage == name and report.alive
        ]
        engine = FLINK_DETAIL["engine"] if on_flink else None
        return sum(detail.get("shards", 0) for detail in found if detail.get("engine") == engine)


@pytest.mark.proof
@pytest.mark.skipif(not whole(), reason="a cluster next to a service takes longer than a test may: make prove")
@pytest.mark.timeout(3_600)
def test_no_read_fails_is_empty_or_goes_back_while_runner_and_flink_change_places(
    tmp_path: Path, kafka_jars: Path, record_property: Callable[[str, object], None]
) -> None:
    """RIDELOG_TEST_FLINK_PINGS_PER_S is another rate of pings; riders, reads and pings before it are of its size."""
    if (lacking := missing_environment()) is not None:
        pytest.skip(lacking)
    riders = [f"places-{uuid.uuid4().hex[:8]}-{number}" for number in range(RIDERS)]
    with flink_on_servers(tmp_path, kafka_jars, NAMES) as world, Backends(world.settings) as backends:
        places = Places(world, backends)
        with ExitStack() as first, ExitStack() as last:
            first.enter_context(runner(world))
            prefill(world.ridelog, riders, PREFILL)
            places.wait_followed(on_flink=False)
            account_for(world.ridelog, set())
            with (
                SteadyLoad(world.ridelog, riders, PINGS_PER_S, seed=1) as load,
                SteadyReader(world.ridelog, riders, READS_PER_S, seed=2) as reader,
            ):
                began = time.monotonic()
                wait_for_more(load, reader)
                jobs = world.submit(NAMES).values()
                places.wait_followed(on_flink=True)
                first.close()
                wait_for_more(load, reader)
                last.enter_context(runner(world))
                places.wait_followed(on_flink=False)
                for job_id in jobs:
                    world.cancel(job_id)
                wait_for_more(load, reader)
                pings, seconds = len(load.acknowledged), time.monotonic() - began
            account_for(world.ridelog, load.acknowledged)
    record_property("pings", f"{pings:,}, {pings / seconds:,.0f} a second")
    record_property("pings refused and sent again", load.refused)
    record_property("reads", f"{reader.reads:,}, wrong {len(reader.wrong)}")
    assert reader.wrong == []


def wait_for_more(load: SteadyLoad, reader: SteadyReader) -> None:
    """Wait until PINGS_OF_A_PHASE more are acknowledged, and READS_OF_A_PHASE reads more are answered."""
    goal = len(load.acknowledged) + PINGS_OF_A_PHASE
    eventually(lambda: len(load.acknowledged) >= goal, within_s=500, every_s=0.5, what="a phase of the load")
    reader.wait_for_reads(READS_OF_A_PHASE)
