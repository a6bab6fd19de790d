"""The three engines that are compared: how each is started, killed, and what it has lost or counted twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Protocol

from confluent_kafka import OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from infrastructure.backends import Backends
from infrastructure.flink.client import FlinkClient, Submission
from infrastructure.flink.environment import FOLDER, FlinkEnvironment
from infrastructure.settings.settings import Settings
from projections.speed import SPEED
from tests.support.kafka.consumer_probe import arrived
from tests.support.servers.flink_cluster import TaskManager
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually
from tests.support.worlds.flink_on_servers import behind
from tests.support.worlds.flink_world import PublishedLog

WITHIN_S = 500.0
GROUP, OUTPUT = "quix-riders", "quix-riders"
PARALLELISM = 2
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


class _OneProcess:
    """An engine that is one process; None before it was started."""

    _process: subprocess.Popen[bytes] | None = None

    def pids(self) -> list[int]:
        return [] if self._process is None else [self._process.pid]

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class RidelogRunner(_OneProcess):
    """The worker of ``serve``."""

    name = "Ridelog, runner"

    def __init__(self, settings: Settings, log: PublishedLog) -> None:
        self._settings = settings
        self._log = log

    def start(self) -> None:
        command = [sys.executable, str(ROOT / "app.py"), "process", "projections", "--of", SPEED.name]
        self._process = subprocess.Popen(command, env={"PATH": os.environ["PATH"], **self._settings.environment()})

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


class Quix(_OneProcess):
    """Quix Streams with its own exactly-once: state, output and offsets in one transaction of Kafka."""

    name = "Quix Streams, exactly-once"

    def __init__(self, bootstrap: str, topic: str, partitions: int, folder: Path, log: PublishedLog) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._partitions = partitions
        self._folder = folder
        self._log = log

    def start(self) -> None:
        arguments = [self._bootstrap, self._topic, OUTPUT, GROUP, str(self._folder / "quix")]
        with (self._folder / "quix.log").open("ab") as output:
            self._process = subprocess.Popen([QUIX_PYTHON, PROGRAM, *arguments], stdout=output, stderr=output)

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
