"""The ways in which the benchmark of Flink runs the job, and the session cluster that it runs them on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from benchmarks.cpu import seconds_of
from infrastructure.flink.client import JOB, FlinkClient, Submission
from infrastructure.flink.environment import FOLDER, FlinkEnvironment
from infrastructure.observability.flink_cluster import STATES_OF_A_RUNNING_JOB, FlinkCluster
from infrastructure.settings.settings import Settings
from projections.speed import SPEED
from tests.support.servers.flink_cluster import JobManager, TaskManager
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually

WITHIN_S = 600.0
REST_TIMEOUT_S = 20.0
PARALLELISM = 2
ONE_CALL = Path(__file__).with_name("flink_one_call.py")


class Variant(NamedTuple):
    """A way to run the job. ``settings``: those of its client that differ. ``backlog``: all events wait in the topic at
    first."""

    label: str
    taskmanagers: int = 1
    program: Path = JOB
    settings: Mapping[str, int] = {}
    backlog: bool = False


COLUMNS = Variant("Flink")
ONE_CALL_VARIANT = Variant("Flink, one call an event", program=ONE_CALL)
VARIANTS = (
    COLUMNS,
    ONE_CALL_VARIANT,
    Variant("Flink, two TaskManagers", taskmanagers=2),
    Variant("Flink, backlog", backlog=True),
    Variant("Flink, backlog, two TaskManagers", taskmanagers=2, backlog=True),
    Variant("Flink, backlog, gathers 1 s", settings={"flink_gather_ms": 1_000}, backlog=True),
    Variant("Flink, backlog, gathers 50 ms", settings={"flink_gather_ms": 50}, backlog=True),
    Variant("Flink, gathers 1 s", settings={"flink_gather_ms": 1_000}),
    Variant("Flink, bundles of one batch", settings={"flink_bundle_batches": 1}),
    Variant("Flink, gathers 50 ms", settings={"flink_gather_ms": 50}),
)


class FlinkUnderTest:
    """A session cluster on loopback, whose CPU is read by process."""

    def __init__(self, settings: Settings, folder: Path, jobmanager: JobManager) -> None:
        self.settings = msgspec.structs.replace(settings, flink_url=jobmanager.url)
        self._environment = self.settings.environment()
        self._folder = folder
        self._jobmanager = jobmanager
        self._started = 0
        self.taskmanagers: list[TaskManager] = []
        self.cluster = FlinkCluster(jobmanager.url, timeout_s=REST_TIMEOUT_S)
        self.client = FlinkClient(FlinkEnvironment(ROOT / FOLDER), jobmanager.url, ROOT)

    @contextmanager
    def with_taskmanagers(self, count: int, slots: int) -> Iterator[None]:
        """Run ``count`` new TaskManagers: a cancel may end one (a fault of Flink 2.3)."""
        self.taskmanagers = []
        for _ in range(count):
            self._started += 1
            self.taskmanagers.append(
                TaskManager(self._folder, self._jobmanager, self._started, self._environment, slots, java="")
            )
        try:
            for one in self.taskmanagers:
                one.start()
            yield
        finally:
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
        """CPU seconds of the TaskManagers' JVMs, and of their Python workers, ended ones too."""
        found = {"JVM": 0.0, "Python": 0.0}
        for one in self.taskmanagers:
            java = psutil.Process(one.pid)
            times = java.cpu_times()
            found["JVM"] += times.user + times.system
            found["Python"] += times.children_user + times.children_system
            found["Python"] += seconds_of(java.children(recursive=True))
        return found
