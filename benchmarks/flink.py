"""The speed projection in the runner and on Flink: events/s and CPU µs an event of each, over the same events.

python -m benchmarks.flink [--events N] [--riders N] [--parallelism N]

Events are recorded and published while the engine runs; another program does that, and its CPU is not counted. First
the runner follows, then the job, on the same log, Kafka and Valkey. Needs `make flink`, Java 17 and Maven.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from benchmarks.cpu import seconds_of
from benchmarks.results import Target, at_most, report
from benchmarks.support import postgres, redis_server
from domain.identifiers import SHARDS
from infrastructure.flink.client import FlinkClient, Submission
from infrastructure.flink.environment import FOLDER, FlinkEnvironment
from infrastructure.kafka.topics import ensure_topics
from infrastructure.settings.settings import Settings
from projections.speed import SPEED
from tests.support.servers.apache_kafka import KafkaCluster
from tests.support.servers.flink_cluster import JobManager, TaskManager, missing_environment
from tests.support.servers.java import jars, missing
from tests.support.servers.servers import running
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually
from tests.support.worlds.flink_world import PublishedLog

WITHIN_S = 600.0
TARGET_RATIO = 1.6
"""Most CPU of an event on Flink, as a multiple of the runner's."""

Processes = Callable[[], Mapping[str, list[psutil.Process]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--riders", type=int, default=20_000)
    parser.add_argument("--parallelism", type=int, default=2)
    options = parser.parse_args()
    if (lacking := missing_environment() or missing()) is not None:
        raise SystemExit(lacking)
    figures: dict[str, float] = {}
    with (
        tempfile.TemporaryDirectory() as name,
        postgres() as postgres_url,
        redis_server() as redis_url,
        running(KafkaCluster(Path(name) / "kafka", jars("kafka"))) as kafka,
    ):
        settings = Settings(
            data_dir=Path(name), postgres_url=postgres_url, redis_url=redis_url, kafka_bootstrap=kafka.url
        )
        ensure_topics(settings)
        log = PublishedLog(settings, options.riders)
        valkey = [one for one in psutil.Process().children(recursive=True) if "valkey" in one.name()]
        with runner(settings) as processes:
            figures |= measured("runner", log, options.events, processes, valkey)
        with flink(settings, Path(name), options.parallelism) as processes:
            figures |= measured("Flink", log, options.events, processes, valkey)
        assert log.stored(SPEED) == log.folded(SPEED), "the states differ from the pure fold"
        log.close()
    ratio = figures["Flink: CPU µs an event, in all"] / figures["runner: CPU µs an event, in all"]
    figures["CPU of an event on Flink, as a multiple of the runner's"] = ratio
    targets: dict[str, Target] = {"CPU of an event on Flink, as a multiple of the runner's": at_most(TARGET_RATIO)}
    report("flink", figures, targets)


@contextmanager
def runner(settings: Settings) -> Iterator[Processes]:
    """The process that `serve` would run for the projection."""
    command = [sys.executable, str(ROOT / "app.py"), "process", "projections", "--of", SPEED.name]
    process = subprocess.Popen(command, env={"PATH": "/usr/bin:/bin", **settings.environment()})
    try:
        yield lambda: {"worker": [psutil.Process(process.pid)]}
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def flink(settings: Settings, folder: Path, parallelism: int) -> Iterator[Processes]:
    """A session cluster of one TaskManager with the job."""
    with running(JobManager(folder)) as jobmanager:
        settings = msgspec.structs.replace(settings, flink_url=jobmanager.url)
        with running(TaskManager(folder, jobmanager, 1, settings.environment(), parallelism)) as taskmanager:
            client = FlinkClient(FlinkEnvironment(ROOT / FOLDER), jobmanager.url, ROOT)
            client.submit(Submission(SPEED.name, parallelism), settings.environment())

            def processes() -> dict[str, list[psutil.Process]]:
                java = psutil.Process(taskmanager.pid)
                return {"JVM": [java], "Python": java.children(recursive=True)}

            yield processes


def measured(
    engine: str, log: PublishedLog, events: int, processes: Processes, valkey: list[psutil.Process]
) -> dict[str, float]:
    """Publish ``events`` events and wait until all are folded."""
    eventually(lambda: log.shards_held(SPEED.name) == SHARDS, within_s=WITHIN_S, what=f"{engine} holds all shards")
    log.publish(min(events, 20_000))  # caches, and the JVM's compiler, are warm afterwards
    eventually(lambda: log.behind(SPEED) == 0, within_s=WITHIN_S, what=f"{engine} has caught up")
    parts = {**processes(), "Valkey": valkey}
    before = {name: seconds_of(found) for name, found in parts.items()}
    started = time.perf_counter()
    log.publish(events)
    eventually(lambda: log.behind(SPEED) == 0, within_s=WITHIN_S, every_s=0.2, what=f"{engine} has caught up")
    took_s = time.perf_counter() - started
    spent = {name: (seconds_of(found) - before[name]) / events * 1e6 for name, found in parts.items()}
    return {
        f"{engine}: events/s, published meanwhile": events / took_s,
        **{f"{engine}: CPU µs an event, {name}": value for name, value in spent.items()},
        f"{engine}: CPU µs an event, in all": sum(spent.values()),
    }


if __name__ == "__main__":
    main()
