"""``serve`` on Apache Kafka next to a session cluster of two TaskManagers that follows projections in its place."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import msgspec
import psutil

from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.embedded.postgres import Postgres
from infrastructure.embedded.valkey import Valkey
from infrastructure.flink.client import SUBMIT_TIMEOUT_S, FlinkClient, Submission
from infrastructure.flink.environment import FOLDER, FlinkEnvironment
from infrastructure.observability.flink_cluster import STATES_OF_A_RUNNING_JOB, FlinkCluster
from infrastructure.postgres.migrations import upgrade
from infrastructure.settings.settings import Settings
from projections.catalogue import PROJECTIONS
from projections.core.ports import ShardDump
from tests.support.faults.world import APACHE, World
from tests.support.servers.apache_kafka import KafkaCluster
from tests.support.servers.flink_cluster import JobManager, TaskManager
from tests.support.servers.servers import UNDURABLE, running
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.steady_load import BackgroundThread

WITHIN_S = 100.0
"""On a quiet machine a job starts within 20 s, and is restored within 15 s."""
SERVED_HERE = "deliveries"
"""The projection that ``serve`` follows itself. No event of its stream is recorded, so it costs nothing."""
SLOTS_PER_TASKMANAGER = 6
"""Enough on one TaskManager for three jobs of two subtasks, and on two for a second copy of each."""
PARALLELISM = 2
CHECKPOINT_MS = 3_000
REST_TIMEOUT_S = 20.0
_SUBMITTED = re.compile(r"submitted as ([0-9a-f]{32})")


class FlinkOnServers(World):
    """The world of the fault tests with Flink. ``names``: the projections that Flink follows."""

    def __init__(self, folder: Path, postgres: Postgres, valkey: Valkey, kafka: KafkaCluster, names: Sequence[str]):
        super().__init__(APACHE, folder, postgres, valkey, kafka)
        self.names = names
        self.jobmanager = JobManager(folder / "flink")
        self.taskmanagers: list[TaskManager] = []
        self.cluster = FlinkCluster(self.jobmanager.url, timeout_s=REST_TIMEOUT_S)

    @property
    def settings(self) -> Settings:
        """Those of the other processes, with the cluster."""
        return msgspec.structs.replace(
            super().settings, flink_url=self.jobmanager.url, flink_checkpoint_ms=CHECKPOINT_MS
        )

    def submit(self, names: Sequence[str], *options: str) -> dict[str, str]:
        """Run ``flink submit``, as a person does. Returns the id of each job by projection."""
        arguments = ("flink", "submit", *names, "--parallelism", str(PARALLELISM), *options)
        done = self.ridelog.cli(*arguments, timeout_s=SUBMIT_TIMEOUT_S * len(names))
        found = _SUBMITTED.findall(done.stdout)
        assert len(found) == len(names), done.stdout + done.stderr
        return dict(zip(names, found, strict=True))

    def submit_copies(self, names: Sequence[str]) -> list[str]:
        """Submit a second job of each projection, which ``flink submit`` refuses to do."""
        client = FlinkClient(FlinkEnvironment(ROOT / FOLDER), self.jobmanager.url, ROOT)
        submission = Submission(names[0], PARALLELISM, arguments=tuple(names))
        return client.submit_all(submission, self.settings.environment(), len(names))

    def cancel(self, job_id: str) -> None:
        """Cancel the job, and wait until it has ended."""
        self.cluster.cancel(job_id)
        eventually(
            lambda: self.cluster.state(job_id) not in STATES_OF_A_RUNNING_JOB, within_s=WITHIN_S, what="the job ends"
        )

    def wait_running(self, job_id: str) -> None:
        """Wait until the job runs. That its workers fold is seen by the fences."""
        eventually(lambda: self.cluster.state(job_id) == "RUNNING", within_s=WITHIN_S, what=f"the job {job_id} runs")

    def wait_checkpoint(self, name: str) -> str:
        """The place of the newest checkpoint of the projection's job, once there is one."""

        def newest() -> str:
            job = self.cluster.job(name)
            return "" if job is None else job.checkpoint

        return eventually(newest, within_s=WITHIN_S, every_s=1.0, what=f"{name} has a checkpoint")

    def wait_older_checkpoint(self, job_id: str) -> str:
        """The oldest checkpoint of a job that the cluster has kept, once there is a newer one."""
        kept = self.jobmanager.data_dir / "checkpoints" / job_id

        def older() -> str:
            found = sorted(kept.glob("chk-*/_metadata"), key=lambda file: int(file.parent.name.partition("-")[2]))
            return found[0].parent.as_uri() if len(found) > 1 else ""

        return eventually(older, within_s=WITHIN_S, every_s=1.0, what="two checkpoints are kept")

    def kill_jobmanager(self) -> None:
        """kill -9 of the JobManager, which forgets all jobs; then it is started again."""
        self.jobmanager.kill()
        self.jobmanager.start()
        self._wait_registered()

    def kill_taskmanager(self, chance: Random) -> None:
        """kill -9 of a TaskManager that has subtasks, with its Python workers; its supervisor starts it again."""
        busy = eventually(self.busy_taskmanagers, within_s=WITHIN_S, what="a TaskManager has subtasks")
        chance.choice(busy).kill()

    def busy_taskmanagers(self) -> list[TaskManager]:
        """The TaskManagers that have Python workers."""
        return [one for one in self.taskmanagers if _python_workers(one)]

    def kill_python_worker(self, chance: Random) -> None:
        """kill -9 of one Python worker."""
        workers = eventually(self.python_workers, within_s=WITHIN_S, what="a Python worker runs")
        os.kill(chance.choice(workers).pid, signal.SIGKILL)

    def _wait_registered(self) -> None:
        wanted = len(self.taskmanagers)
        eventually(
            lambda: self.jobmanager.overview().get("taskmanagers") == wanted,
            within_s=WITHIN_S,
            what="the TaskManagers register with the JobManager",
        )

    def python_workers(self) -> list[psutil.Process]:
        """The Python workers of all TaskManagers."""
        return [worker for one in self.taskmanagers for worker in _python_workers(one)]

    def taskmanager_pids(self) -> list[int]:
        return [one.pid for one in self.taskmanagers if one.pid is not None]


def _python_workers(taskmanager: TaskManager) -> list[psutil.Process]:
    """The Python workers of one TaskManager, without the programs that only start them."""
    if taskmanager.pid is None:
        return []
    try:
        return [child for child in psutil.Process(taskmanager.pid).children(recursive=True) if "python" in child.name()]
    except psutil.NoSuchProcess:
        return []  # it ends at this moment


class TaskManagerSupervisor(BackgroundThread):
    """Starts TaskManagers that have ended, as a service manager does: one that loses its jobs may end (Flink 2.3)."""

    def __init__(self, taskmanagers: Sequence[TaskManager]) -> None:
        super().__init__("supervisor of TaskManagers")
        self._taskmanagers = taskmanagers

    def run(self) -> None:
        for _ in self.every(1.0):
            for one in self._taskmanagers:
                if not one.is_alive():
                    one.spawn()


def dumps(backends: Backends, name: str, generation: int) -> list[ShardDump]:
    """Everything that a generation has stored, by shard, without the incarnation that wrote it."""
    sink = backends.stores.sink(PROJECTIONS[name], generation)
    found = [sink.dump(shard) for shard in range(SHARDS)]
    return [one._replace(fence=one.fence and one.fence._replace(incarnation="")) for one in found]


def behind(backends: Backends, name: str, generation: int = 1) -> int:
    """Events that a generation has not folded yet."""
    projection = PROJECTIONS[name]
    head = backends.log.head(projection.stream)
    fences = backends.stores.sink(projection, generation).fences(range(SHARDS))
    return sum(seq - (0 if fence is None else fence.seq) for seq, fence in zip(head.seqs, fences, strict=True))


@contextmanager
def flink_on_servers(
    folder: Path, jars: Path, names: Sequence[str], settings: Mapping[str, str] | None = None
) -> Iterator[FlinkOnServers]:
    """Start servers, ``serve`` and the cluster, without any job; stop them at the end.

    ``settings``: further settings of ``serve``, in lower case.
    """
    with ExitStack() as stack:
        postgres = stack.enter_context(running(Postgres(folder / "postgres", {**UNDURABLE, "max_wal_size": "1GB"})))
        upgrade(postgres.url)
        valkey = stack.enter_context(running(Valkey(folder / "servers")))
        kafka = stack.enter_context(running(KafkaCluster(folder / "servers", jars)))
        one = FlinkOnServers(folder, postgres, valkey, kafka, names)
        stack.callback(one.engine.dispose)
        stack.enter_context(running(one.jobmanager))
        all_settings = {
            "postgres_url": postgres.url,
            "redis_url": valkey.url,
            "kafka_bootstrap": kafka.url,
            "projections": SERVED_HERE,
            "flink_url": one.jobmanager.url,
            "flink_checkpoint_ms": str(CHECKPOINT_MS),
            **(settings or {}),
        }
        one.ridelog = Ridelog(folder / "data", ROOT, **all_settings)
        stack.callback(one.ridelog.stop)
        # It is not ready while no process follows the projections that it leaves out.
        one.ridelog.wait_ready(path="/health/live")
        for number in (1, 2):
            environment = one.settings.environment()
            taskmanager = TaskManager(folder / "flink", one.jobmanager, number, environment, SLOTS_PER_TASKMANAGER)
            one.taskmanagers.append(stack.enter_context(running(taskmanager)))
        stack.enter_context(TaskManagerSupervisor(one.taskmanagers))
        yield one
