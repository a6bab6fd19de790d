"""Faults of Kafka: restarts, wipes, the loss of a leader or of a part of a topic."""

from __future__ import annotations

from collections import Counter
from random import Random

from confluent_kafka.admin import AdminClient
from kafka import TopicPartition

from infrastructure.kafka.admin import admin
from infrastructure.kafka.topics import topics
from tests.support.faults.fault import Fault
from tests.support.faults.world import APACHE, APACHE_3, EMBEDDED, World, frozen, pause
from tests.support.servers.apache_kafka import KafkaCluster
from tests.support.waiting import eventually


def restart(world: World, _chance: Random) -> None:
    world.server("kafka").restart()


def wipe(world: World, _chance: Random) -> None:
    """Delete its log, with topics, offsets and groups."""
    kafka = world.kafka
    if not isinstance(kafka, KafkaCluster):
        kafka.kill()
        kafka.start()
        return
    for node in kafka.nodes:
        node.wipe()
    kafka.start()


def leader_loss(world: World, chance: Random) -> None:
    """kill -9 of the broker that leads most partitions of the topic; it restarts when another leads them."""
    assert isinstance(world.kafka, KafkaCluster)
    topic = topics(world.settings)["Rider"]
    client = AdminClient({"bootstrap.servers": world.kafka.url})

    def leaders() -> Counter[int]:
        found = client.list_topics(topic, timeout=10.0).topics[topic].partitions.values()
        return Counter(partition.leader for partition in found)

    first = leaders().most_common(1)[0][0]
    node = world.kafka.nodes[first - 1]
    node.kill()
    eventually(lambda: first not in leaders() and -1 not in leaders(), within_s=60, what="others lead")
    pause(2 * chance.random())
    node.start()


def truncation(world: World, _chance: Random) -> None:
    """Delete all records of the topic before the projections have read it to its end."""
    topic = topics(world.settings)["Rider"]
    with frozen(world.pids("projections")):
        pause(1.0)
        with admin(world.kafka.url) as client:
            ends = {TopicPartition(topic, partition): -1 for partition in range(world.settings.topic_partitions)}
            client.delete_records(ends, timeout_ms=10_000)


def topic_deleted(world: World, _chance: Random) -> None:
    """Delete the topic under the running tailer and projections, like an administrator's mistake."""
    with admin(world.kafka.url) as client:
        client.delete_topics([topics(world.settings)["Rider"]], timeout_ms=10_000)


BROKER_FAULTS = [
    Fault("restart of the broker", "stopped cleanly, then restarted", restart, wipes=(EMBEDDED,), small=APACHE),
    Fault("wipe of the broker", "killed, and its whole log deleted", wipe, wipes=(EMBEDDED, APACHE), small=APACHE),
    Fault(
        "loss of the leader",
        "the broker that leads most partitions is killed; it restarts once another one leads",
        leader_loss,
        brokers=(APACHE_3,),
        small=APACHE_3,
    ),
    Fault(
        "truncation of the topic",
        "all its records are deleted (DeleteRecords) while the projections sleep",
        truncation,
        brokers=(APACHE,),
        wipes=(APACHE,),
        small=APACHE,
    ),
    Fault("deletion of the topic", "deleted under tailer and projections", topic_deleted, wipes=(EMBEDDED, APACHE)),
]
