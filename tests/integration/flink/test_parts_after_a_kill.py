"""A TaskManager that is killed while it makes parts: its job goes on elsewhere, and no finished part is made again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from infrastructure.embedded.server import EmbeddedServer
from infrastructure.flink.bounded_jobs import BoundedJobs
from infrastructure.flink.client import FlinkClient
from infrastructure.flink.environment import FOLDER, FlinkEnvironment
from infrastructure.flink.parts_on_flink import PartsOnFlink
from infrastructure.observability.flink_cluster import FlinkCluster
from infrastructure.process_pool import OnTick
from infrastructure.replay.parts_elsewhere import PartsElsewhere, PartsOrder
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.feature_history import make_history
from tests.support.postgres.table_gate import TableGate
from tests.support.servers.flink_cluster import JobManager, TaskManager
from tests.support.servers.servers import running
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually
from tests.support.worlds.parts_world import history_of

WITHIN_S = 100.0
LIMIT_S = 1_800
"""A client and two TaskManagers start: minutes where ten processes want each core."""

Written = dict[str, tuple[int, int]]


class GatedParts:
    """Parts on a cluster whose workers read the log only as far as the test lets them."""

    def __init__(self, parts: PartsElsewhere, gate: TableGate) -> None:
        self._parts = parts
        self._gate = gate
        self.written: Written = {}

    def claim(self, folder: Path) -> None:
        self._parts.claim(folder)

    def make(self, order: PartsOrder, on_tick: OnTick) -> None:
        self._gate.close()
        self._parts.make(order, on_tick)
        self.written = written(order.folder)


@pytest.mark.timeout(LIMIT_S)
def test_a_killed_taskmanager_fails_no_command_and_no_finished_part_is_made_again(
    log: Settings, jobmanager: JobManager, tmp_path: Path
) -> None:
    history, notes = history_of(log, "known", last_ms=2_000, every_ms=500), list[str]()
    make_history(log, history, tmp_path / "here.parquet", 1, lambda done, of: None)
    out = tmp_path / "there.parquet"
    folder = tmp_path / "there.parquet.parts"
    cluster = FlinkCluster(jobmanager.url, log.topic_prefix, timeout_s=10.0)
    client = FlinkClient(FlinkEnvironment(ROOT / FOLDER), jobmanager.url, ROOT)
    jobs = BoundedJobs(client, cluster, log.environment(), parallelism=2, on_note=notes.append)
    with TableGate(log.postgres_url or "", "events") as gate, ThreadPoolExecutor(1) as command, ExitStack() as ending:
        # After a failure of the test the command would wait for a TaskManager.
        ending.callback(cancel_all, cluster)
        parts = GatedParts(PartsOnFlink(jobs), gate)
        # Given a job that has made some of its parts
        with running(TaskManager(tmp_path, jobmanager, 1, log.environment())) as first:
            made = command.submit(make_history, log, history, out, 1, lambda done, of: None, elsewhere=parts)
            eventually(lambda: made.done() or python_workers(first), within_s=WITHIN_S, what="the job runs")
            eventually(lambda: made.done() or one_step(gate, folder), within_s=WITHIN_S, what="a part is made")
            assert not made.done(), made.result()
            # When its TaskManager is killed alone, as by a system that runs out of memory
            left = python_workers(first)
            EmbeddedServer.kill(first)
            # Then its Python workers end, although each waits for the database
            eventually(lambda: not any(map(runs, left)), within_s=WITHIN_S, what="the Python workers end")
            before = written(folder)
        with running(TaskManager(tmp_path, jobmanager, 2, log.environment())):
            gate.open()
            # And the command gets its file with another one, and says why it took longer
            made.result()
    assert out.read_bytes() == (tmp_path / "here.parquet").read_bytes()
    assert notes
    assert all(note.startswith("Flink restarts the job") for note in notes), notes
    # And what was made is what it was
    assert 0 < len(before) < len(parts.written)
    assert {name: parts.written[name] for name in before} == before


def cancel_all(cluster: FlinkCluster) -> None:
    for job in cluster.part_jobs():
        cluster.cancel(job.job_id)


def one_step(gate: TableGate, folder: Path) -> Written:
    """Let each worker do one transaction. Returns what finished parts have written."""
    gate.step()
    return written(folder)


def python_workers(taskmanager: TaskManager) -> list[psutil.Process]:
    """The Python workers of the TaskManager, and the programs that have started them."""
    return list(psutil.Process(taskmanager.pid).children(recursive=True))


def runs(process: psutil.Process) -> bool:
    """Whether it runs; one that no parent waits for stays in the list of processes after its end."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def written(folder: Path) -> Written:
    """Inode and time of change of each file of a finished part."""
    found: Written = {}
    for result in folder.glob("[0-9][0-9].json"):
        for path in (result, folder / f"history-{result.stem}.parquet"):
            found[path.name] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found
