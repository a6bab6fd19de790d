"""One face for the contract suites over every library and every broker."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from infrastructure.kafka.admin import ensure_topics
from infrastructure.kafka.confluent_consumer import ConfluentConsumer
from infrastructure.kafka.confluent_producer import ConfluentPublisher
from infrastructure.kafka.consumer_decorators import BatchingConsumer
from infrastructure.kafka.kafka_python_consumer import KafkaPythonConsumer
from infrastructure.kafka.kafka_python_producer import KafkaPythonPublisher
from infrastructure.kafka.ports import ProducerRecord, Publisher
from projections.core.ports import ConsumerRecord, RecordConsumer
from tests.support.ports_in_memory.kafka_broker import MemoryBroker
from tests.support.ports_in_memory.kafka_publisher import MemoryPublisher
from tests.support.ports_in_memory.kafka_topic import MemoryConsumer
from tests.support.waiting import eventually

QUEUE = 100_000
TANSU_SESSION_S = 3.0
"""Its joins wait for half of it; Apache Kafka takes no less than 6 s unless it is told so."""


class Library(Protocol):
    """Makes both halves of the data plane."""

    def create_topic(self, name: str, partitions: int) -> None: ...

    def publisher(self, queue: int) -> Publisher: ...

    def topic(self, name: str, group: str) -> RecordConsumer: ...


class MemoryLibrary:
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def create_topic(self, name: str, partitions: int) -> None:
        self._broker.create_topic(name, partitions)

    def publisher(self, queue: int) -> Publisher:
        return MemoryPublisher(self._broker, queue=queue)

    def topic(self, name: str, group: str) -> RecordConsumer:
        return MemoryConsumer(self._broker, name, group)


class GatheringLibrary(MemoryLibrary):
    """As those projections consume that can wait."""

    def topic(self, name: str, group: str) -> RecordConsumer:
        return BatchingConsumer(super().topic(name, group))


class ConfluentLibrary:
    def __init__(self, bootstrap: str, session_s: float) -> None:
        self._bootstrap = bootstrap
        self._session_s = session_s

    def create_topic(self, name: str, partitions: int) -> None:
        ensure_topics(self._bootstrap, [name], partitions)

    def publisher(self, queue: int) -> Publisher:
        return ConfluentPublisher(self._bootstrap, {"queue.buffering.max.messages": queue})

    def topic(self, name: str, group: str) -> RecordConsumer:
        return ConfluentConsumer(self._bootstrap, name, group, session_timeout_s=self._session_s)


class KafkaPythonLibrary(ConfluentLibrary):
    def publisher(self, queue: int) -> Publisher:
        return KafkaPythonPublisher(self._bootstrap, max_in_flight=queue)

    def topic(self, name: str, group: str) -> RecordConsumer:
        return KafkaPythonConsumer(self._bootstrap, name, group, session_timeout_s=self._session_s)


class Clients:
    """Makes clients of one library on one broker and closes those that a test leaves open."""

    def __init__(self, library: Library, stack: ExitStack, topic_prefix: str, stop_broker: Callable[[], None]) -> None:
        self._library = library
        self._stack = stack
        self._prefix = topic_prefix
        self.stop_broker = stop_broker
        """From now on nothing is acknowledged; only for brokers of the test's own."""

    def new_topic(self, partitions: int = 4) -> str:
        """Name of a topic that no other test knows."""
        name = f"{self._prefix}{uuid.uuid4().hex[:8]}"
        self._library.create_topic(name, partitions)
        return name

    def publisher(self, queue: int = QUEUE) -> Publisher:
        made = self._library.publisher(queue)
        self._stack.callback(made.close, 0.5)
        return made

    def topic(self, name: str, group: str) -> RecordConsumer:
        # A group of the test's own: a member of another test that is still leaving would be given partitions.
        made = self._library.topic(name, f"{self._prefix}{group}")
        self._stack.callback(made.close)
        return made


@contextmanager
def clients(library: Library, topic_prefix: str, stop_broker: Callable[[], None]) -> Iterator[Clients]:
    with ExitStack() as stack:
        yield Clients(library, stack, topic_prefix, stop_broker)


def library(name: str, bootstrap: str, session_s: float = TANSU_SESSION_S) -> Library:
    """By the name that RIDELOG_KAFKA_CLIENT would have."""
    return {"confluent": ConfluentLibrary, "kafka-python": KafkaPythonLibrary}[name](bootstrap, session_s)


def out_records(topic: str, count: int, partitions: int = 4, first: int = 0) -> list[ProducerRecord]:
    """Record i goes to partition i mod ``partitions`` with the value str(i)."""
    return [
        ProducerRecord(topic, i % partitions, b"key", b"%d" % i, [("seq", b"%d" % i)])
        for i in range(first, first + count)
    ]


def hand_over(publisher: Publisher, token: int, records: Sequence[ProducerRecord], *, serve: bool = False) -> None:
    """Publish until all are taken: a library takes none before it knows the topic, and few into a full queue.

    ``serve``: count reports on the way, which empties the queue.
    """
    left = list(records)

    def handed_over() -> bool:
        # The token is not sealed, so it cannot be among the acknowledged.
        assert not serve or token not in publisher.acknowledged(0.0)
        del left[: publisher.publish(token, left)]
        return not left

    eventually(handed_over, every_s=0.002, what="all records are taken")


def publish_all(publisher: Publisher, token: int, records: Sequence[ProducerRecord]) -> None:
    """Publish under one token and wait until it is acknowledged."""
    hand_over(publisher, token, records, serve=True)
    publisher.seal(token)
    eventually(lambda: token in publisher.acknowledged(0.1), every_s=0.0, what=f"token {token} is acknowledged")


def read(topic: RecordConsumer, count: int, within_s: float = 20.0) -> list[ConsumerRecord]:
    """Poll until ``count`` records have come; AssertionError if they do not, or if more come with them."""
    records: list[ConsumerRecord] = []

    def enough() -> bool:
        records.extend(topic.poll(1_000, 0.1))
        return len(records) >= count

    eventually(enough, within_s=within_s, every_s=0.0, what=f"{count} records are read")
    assert len(records) == count
    return records


def await_partitions(topic: RecordConsumer, partitions: int, within_s: float = 20.0) -> None:
    """Poll, for its effect on the group, until that many partitions are held. AssertionError if a record comes."""

    def held() -> bool:
        assert topic.poll(1, 0.05) == []
        return len(topic.assignment()) == partitions

    eventually(held, within_s=within_s, every_s=0.0, what=f"{partitions} partitions are held")
