"""The ways in which the benchmark of Flink runs the job, and the session cluster that it runs them on."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from benchmarks.support import postgres, redis_server
from infrastructure.flink.client import JOB, FlinkClient, Submission
from infrastructure.flink.environment import FOLDER, FlinkEnvironment
from infrastructure.kafka.topics import ensure_topics
from infrastructure.observability.flink_cluster import STATES_OF_A_RUNNING_JOB, FlinkCluster
from infrastructure.settings.settings import Settings
from projections.speed import SPEED
from tests.support.servers.apache_kafka import KafkaCluster
from tests.support.servers.flink_cluster import JobManager, TaskManager, missing_environment
from tests.support.servers.java import jars, missing
from tests.support.servers.servers import running
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually

WITHIN_S = 600.0
REST_TIMEOUT_S = 20.0
HEARTBEAT_TIMEOUT_MS = 600_000
"""A TaskManager that is suspended while a backlog is published must not be taken for one that has ended."""
PARALLELISM = 2
SAMPLE_INTERVAL_S = 0.1
COMPILERS = "JVM's compilers"
"""What they cost is of the first minutes of a TaskManager, not of an event."""
ONE_CALL = Path(__file__).with_name("flink_one_call.py")


class Variant(NamedTuple):
    """A way to run the job. ``settings``: those of its client that differ. ``backlog``: all events wait in the topic at
    first."""

    label: str
    taskmanagers: int = 1
    program: Path = JOB
    settings: Mapping[str, int] = {}
    backlog: bool = False


COLUMNS = Variant("Flink, columns")
ONE_CALL_VARIANT = Variant("Flink, one call an event", program=ONE_CALL)
VARIANTS = (
    COLUMNS,
    ONE_CALL_VARIANT,
    Variant("Flink, two TaskManagers", taskmanagers=2),
    Variant("Flink, backlog", backlog=True),
    Variant("Flink, backlog, two TaskManagers", taskmanagers=2, backlog=True),
    Variant("Flink, backlog, gathers 1 s", settings={"flink_gather_ms": 1_000}, backlog=True),
    Variant("Flink, backlog, gathers 50 ms", settings={"flink_gather_ms": 50}, backlog=True),
    Variant("Flink, bundles of 1 s", settings={"flink_bundle_batches": 100_000, "flink_bundle_ms": 1_000}),
    Variant("Flink, gathers 1 s", settings={"flink_gather_ms": 1_000}),
    Variant("Flink, gathers 50 ms", settings={"flink_gather_ms": 50}),
)


class PythonWorkers(threading.Thread):
    """Samples the CPU of all processes that TaskManagers have started.

    The kernel adds the CPU of an ended process to the one that waits for it. A Python worker whose shell has ended
    before it has another such process: a bounded job seemed to cost the JVM alone, 7 µs an event.
    """

    def __init__(self, taskmanagers: Sequence[TaskManager]) -> None:
        super().__init__(name="CPU of Python workers", daemon=True)
        self._taskmanagers = taskmanagers
        self._seen: dict[tuple[int, float], float] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(SAMPLE_INTERVAL_S):
            self.seconds()

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def seconds(self) -> float:
        """CPU seconds until now; of an ended process, those of its last sample."""
        with self._lock:
            for pid in [one.pid for one in self._taskmanagers if one.pid is not None]:
                with suppress(psutil.Error):  # it has ended since it was listed
                    for worker in psutil.Process(pid).children(recursive=True):
                        self._look(worker)
            return sum(self._seen.values())

    def _look(self, worker: psutil.Process) -> None:
        with suppress(psutil.Error):  # it has ended since it was listed
            self._seen[worker.pid, worker.create_time()] = sum(worker.cpu_times()[:2])


class Compilers:
    """Reads the CPU of the threads of a JVM that compile its hot methods."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], float] = {}

    def seconds(self, jvm: psutil.Process) -> float:
        """CPU seconds until now. A JVM ends a compiler that is idle: of such a thread, what was read last."""
        for thread in jvm.threads():
            with suppress(OSError):  # it has ended since it was listed
                name = Path(f"/proc/{jvm.pid}/task/{thread.id}/comm").read_text()
                if name.startswith(("C1 Comp", "C2 Comp")):
                    self._seen[jvm.pid, thread.id] = thread.user_time + thread.system_time
        return sum(spent for (pid, _), spent in self._seen.items() if pid == jvm.pid)


class FlinkUnderTest:
    """A session cluster on loopback, whose CPU is read by process."""

    def __init__(self, settings: Settings, folder: Path, jobmanager: JobManager) -> None:
        self.settings = msgspec.structs.replace(settings, flink_url=jobmanager.url)
        self._environment = self.settings.environment()
        self._folder = folder
        self._jobmanager = jobmanager
        self._started = 0
        self._workers = PythonWorkers(())
        self._compilers = Compilers()
        self.taskmanagers: list[TaskManager] = []
        self.cluster = FlinkCluster(jobmanager.url, timeout_s=REST_TIMEOUT_S)
        self.client = FlinkClient(FlinkEnvironment(ROOT / FOLDER), jobmanager.url, ROOT)

    @contextmanager
    def with_taskmanagers(self, count: int, slots: int, java: str = "") -> Iterator[None]:
        """Run ``count`` new TaskManagers: a cancel may end one (a fault of Flink 2.3).

        ``java``: options of their JVMs; "" for those of ``deploy/flink/config.yaml``.
        """
        self.taskmanagers = []
        self._compilers = Compilers()
        for _ in range(count):
            self._started += 1
            self.taskmanagers.append(
                TaskManager(self._folder, self._jobmanager, self._started, self._environment, slots, java=java)
            )
        self._workers = PythonWorkers(self.taskmanagers)
        try:
            for one in self.taskmanagers:
                one.start()
            self._workers.start()
            yield
        finally:
            self._workers.stop()
            for one in self.taskmanagers:
                one.stop()

    @contextmanager
    def job(self, variant: Variant) -> Iterator[None]:
        """The running job of the speed projection."""
        settings = msgspec.structs.replace(self.settings, **variant.settings)
        job_id = self.client.submit(
            Submission(SPEED.name, PARALLELISM, program=variant.program), settings.environment()
        )
        try:
            yield
        finally:
            self.cluster.cancel(job_id)
            eventually(
                lambda: self.cluster.state(job_id) not in STATES_OF_A_RUNNING_JOB, within_s=WITHIN_S, what="it ends"
            )

    def cpu(self) -> dict[str, float]:
        """CPU seconds of the TaskManagers' JVMs, their compilers apart, and of their Python workers, ended ones too."""
        jvms = [psutil.Process(one.pid) for one in self.taskmanagers]
        compilers = sum(self._compilers.seconds(jvm) for jvm in jvms)
        return {
            "JVM": sum(sum(jvm.cpu_times()[:2]) for jvm in jvms) - compilers,
            COMPILERS: compilers,
            "Python": self._workers.seconds(),
        }


@contextmanager
def flink_under_test() -> Iterator[FlinkUnderTest]:
    """A session cluster without TaskManagers, beside Kafka, Postgres and Valkey. Raises SystemExit without Java."""
    if (lacking := missing_environment() or missing()) is not None:
        raise SystemExit(lacking)
    with (
        tempfile.TemporaryDirectory() as name,
        postgres() as postgres_url,
        redis_server() as redis_url,
        running(KafkaCluster(Path(name) / "kafka", jars("kafka"))) as kafka,
        running(JobManager(Path(name), heartbeat_timeout_ms=HEARTBEAT_TIMEOUT_MS)) as jobmanager,
    ):
        settings = Settings(
            data_dir=Path(name), postgres_url=postgres_url, redis_url=redis_url, kafka_bootstrap=kafka.url
        )
        ensure_topics(settings)
        yield FlinkUnderTest(settings, Path(name), jobmanager)
