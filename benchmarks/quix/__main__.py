"""What is lost or counted twice under faults: Ridelog's runner, Ridelog on Flink, Quix Streams with exactly-once.

make quix [QUIX="--events N"]

One log is published to one topic of Apache Kafka. The three engines follow it at the same time, each with a store of
its own. Then all three are killed in mid-load; all sleep while records come and are deleted (DeleteRecords, or a
retention that is too short); and the producer sends its last records again, as every at-least-once producer does after
a kill. After each fault the states are compared with the log, event by event. Needs `make flink`, Java 17 and Maven.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka import TopicPartition as NamedPartition

from benchmarks.results import report
from benchmarks.support import postgres, redis_server
from infrastructure.backends import Backends
from infrastructure.flink.client import FlinkClient, Submission
from infrastructure.flink.environment import FOLDER, FlinkEnvironment
from infrastructure.kafka.admin import admin
from infrastructure.kafka.topics import ensure_topics, topics
from infrastructure.settings.settings import Settings
from projections.speed import SPEED
from tests.support.faults.world import frozen
from tests.support.kafka.consumer_probe import arrived
from tests.support.servers.apache_kafka import KafkaCluster
from tests.support.servers.flink_cluster import JobManager, TaskManager, missing_environment
from tests.support.servers.java import jars, missing
from tests.support.servers.servers import running
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually
from tests.support.worlds.flink_on_servers import behind
from tests.support.worlds.flink_world import PublishedLog

WITHIN_S = 500.0
GROUP, OUTPUT = "quix-riders", "quix-riders"
SENT_AGAIN = 2_000
PARALLELISM = 2
CHECKPOINT_MS = 3_000
QUIX_PYTHON = ROOT / ".quix-venv" / "bin" / "python"
PROGRAM = Path(__file__).with_name("rider_events.py")


class Damage(NamedTuple):
    """Events of the log that a state lacks, and events that it has counted more than once."""

    lost: int
    doubled: int


class Engine(Protocol):
    """One of the three."""

    name: str

    def pids(self) -> list[int]: ...

    def kill(self) -> None:
        """kill -9 of all its processes."""

    def start(self) -> None: ...

    def damage(self) -> Damage:
        """What it has lost or doubled, once it has read everything."""
        ...


class RidelogRunner:
    """The worker of ``serve``."""

    name = "Ridelog, runner"

    def __init__(self, settings: Settings, log: PublishedLog) -> None:
        self._settings = settings
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, str(ROOT / "app.py"), "process", "projections", "--of", SPEED.name]
        self._process = subprocess.Popen(command, env={"PATH": os.environ["PATH"], **self._settings.environment()})

    def pids(self) -> list[int]:
        return [] if self._process is None else [self._process.pid]

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def damage(self) -> Damage:
        return _damage_of_states(self._settings, self._log)


class RidelogOnFlink:
    """The job of the projection on a session cluster of one TaskManager."""

    name = "Ridelog, Flink"

    def __init__(self, settings: Settings, log: PublishedLog, taskmanager: TaskManager) -> None:
        self._settings = settings
        self._log = log
        self._taskmanager = taskmanager

    def start(self) -> None:
        if self._taskmanager.child is None:
            self._taskmanager.start()
            client = FlinkClient(FlinkEnvironment(ROOT / FOLDER), self._taskmanager.url, ROOT)
            client.submit(Submission(SPEED.name, PARALLELISM), self._settings.environment())
        else:
            self._taskmanager.start()

    def pids(self) -> list[int]:
        return [] if self._taskmanager.pid is None else [self._taskmanager.pid]

    def kill(self) -> None:
        self._taskmanager.kill()

    def damage(self) -> Damage:
        return _damage_of_states(self._settings, self._log)


class Quix:
    """Quix Streams with its own exactly-once: state, output and offsets in one transaction of Kafka."""

    name = "Quix Streams, exactly-once"

    def __init__(self, bootstrap: str, topic: str, partitions: int, folder: Path, log: PublishedLog) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._partitions = partitions
        self._folder = folder
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = [self._bootstrap, self._topic, OUTPUT, GROUP, str(self._folder / "quix")]
        with (self._folder / "quix.log").open("ab") as output:
            self._process = subprocess.Popen([QUIX_PYTHON, PROGRAM, *arguments], stdout=output, stderr=output)

    def pids(self) -> list[int]:
        return [] if self._process is None else [self._process.pid]

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def damage(self) -> Damage:
        eventually(self._has_read_all, within_s=WITHIN_S, every_s=1.0, what="Quix Streams has committed everything")
        states = [json.loads(value) for value in last_values(self._bootstrap, OUTPUT).values()]
        held, doubled = (sum(state[name] for state in states) for name in ("events", "doubled"))
        return Damage(self._log.recorded - held, doubled)

    def _has_read_all(self) -> bool:
        client = AdminClient({"bootstrap.servers": self._bootstrap})
        wanted = [TopicPartition(self._topic, number) for number in range(self._partitions)]
        found = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(GROUP, wanted)])[GROUP].result()
        committed = {one.partition: one.offset for one in found.topic_partitions or ()}
        consumer = Consumer({"bootstrap.servers": self._bootstrap, "group.id": "quix-ends"})
        try:
            ends = {one.partition: consumer.get_watermark_offsets(one, 10)[1] for one in wanted}
        finally:
            consumer.close()
        return all(committed.get(partition, -1) >= end for partition, end in ends.items() if end)


def _damage_of_states(settings: Settings, log: PublishedLog) -> Damage:
    """By the version of each rider's state, which is the number of its events: this fold counts none twice."""
    with Backends(settings) as backends:
        eventually(lambda: behind(backends, SPEED.name) == 0, within_s=WITHIN_S, every_s=1.0, what="all is folded")
        stored, folded = log.stored(SPEED, backends=backends), log.folded(SPEED)
    differing = sum(stored.get(key) != state for key, state in folded.items()) + len(stored.keys() - folded.keys())
    if differing:
        raise SystemExit(f"{differing} riders have a state that is not the fold of the log")
    return Damage(0, 0)


def last_values(bootstrap: str, topic: str) -> dict[bytes, bytes]:
    """The last committed value of each key of a topic."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "quix-reader", "isolation.level": "read_committed"}
    )
    try:
        partitions = consumer.list_topics(topic, 10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        found: dict[bytes, bytes] = {}
        while messages := arrived(consumer, 5.0):
            found |= {message.key() or b"": message.value() or b"" for message in messages}
        return found
    finally:
        consumer.close()


class Faults:
    """What happens to all three engines at the same time."""

    def __init__(self, settings: Settings, log: PublishedLog, engines: list[Engine], events: int) -> None:
        self._settings = settings
        self._log = log
        self._engines = engines
        self._events = events

    def nothing(self) -> None:
        self._log.publish(self._events)

    def killed(self) -> None:
        self._log.publish(self._events // 2)
        for engine in self._engines:
            engine.kill()
        self._log.publish(self._events // 2)
        for engine in self._engines:
            engine.start()

    def truncated(self) -> None:
        """Records come while the engines sleep, and are deleted before they wake."""
        with frozen([pid for engine in self._engines for pid in engine.pids()]):
            self._log.publish(self._events)
            topic = topics(self._settings)["Rider"]
            with admin(self._settings.kafka_bootstrap or "") as client:
                ends = {NamedPartition(topic, number): -1 for number in range(self._settings.topic_partitions)}
                client.delete_records(ends, timeout_ms=10_000)
        self._log.publish(self._events)

    def sent_again(self) -> None:
        self._log.publish_again(SENT_AGAIN)
        self._log.publish(self._events)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000, help="events published with each fault")
    parser.add_argument("--riders", type=int, default=2_000)
    options = parser.parse_args()
    if (lacking := missing_environment() or missing()) is not None:
        raise SystemExit(lacking)
    with everything(options.riders, options.events) as (log, engines, faults):
        for engine in engines:
            engine.start()
        table: dict[str, dict[str, Damage]] = {}
        steps: dict[str, Callable[[], None]] = {
            "no fault": faults.nothing,
            "kill -9 of the engine in mid-load": faults.killed,
            f"the broker deletes {options.events:,} records that it had not read": faults.truncated,
            f"the producer sends its last {SENT_AGAIN:,} records again": faults.sent_again,
        }
        before = {engine.name: Damage(0, 0) for engine in engines}
        for name, step in steps.items():
            step()
            found = {engine.name: engine.damage() for engine in engines}
            table[name] = {
                engine: Damage(now.lost - before[engine].lost, now.doubled - before[engine].doubled)
                for engine, now in found.items()
            }
            before = found
            print(name, table[name], flush=True)
        figures = {
            f"{fault}: {engine}": f"lost {damage.lost:,}, doubled {damage.doubled:,}"
            for fault, row in table.items()
            for engine, damage in row.items()
        }
        report("quix", figures)
        print(markdown(table, log.recorded))


def markdown(table: dict[str, dict[str, Damage]], events: int) -> str:
    """The table of docs/scaling.md."""
    names = list(next(iter(table.values())))
    lines = [f"| {events:,} events, lost / counted twice | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for fault, row in table.items():
        lines.append(f"| {fault} | {' | '.join(f'{d.lost:,} / {d.doubled:,}' for d in row.values())} |")
    return "\n".join(lines)


@contextmanager
def everything(riders: int, events: int) -> Iterator[tuple[PublishedLog, list[Engine], Faults]]:
    """Servers and engines; none of the engines is started."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url, redis_of_runner, redis_of_flink = (
            stack.enter_context(one) for one in (postgres(), redis_server(), redis_server())
        )
        kafka = stack.enter_context(running(KafkaCluster(folder / "kafka", jars("kafka"))))
        jobmanager = stack.enter_context(running(JobManager(folder)))
        settings = Settings(data_dir=folder, postgres_url=url, redis_url=redis_of_runner, kafka_bootstrap=kafka.url)
        ensure_topics(settings)
        log = PublishedLog(settings, riders)
        stack.callback(log.close)
        on_flink = msgspec.structs.replace(
            settings, redis_url=redis_of_flink, flink_url=jobmanager.url, flink_checkpoint_ms=CHECKPOINT_MS
        )
        taskmanager = TaskManager(folder, jobmanager, 1, on_flink.environment(), PARALLELISM)
        topic = topics(settings)["Rider"]
        engines: list[Engine] = [
            RidelogRunner(settings, log),
            RidelogOnFlink(on_flink, log, taskmanager),
            Quix(kafka.url, topic, settings.topic_partitions, folder, log),
        ]
        for engine in engines:
            stack.callback(engine.kill)
        yield log, engines, Faults(settings, log, engines, events)


if __name__ == "__main__":
    main()
