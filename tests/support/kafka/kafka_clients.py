"""One interface to every client library and broker, for the contract suites."""

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
"""A join takes half of it; Apache Kafka accepts less than 6 s only if configured so."""


class Library(Protocol):
    """Creates publishers and consumers."""

    def create_topic(self, name: str, partitions: int) -> None: ...

    def publisher(self, queue: int) -> Publisher: ...

    def consumer(self, name: str, group: str) -> RecordConsumer: ...


class MemoryLibrary:
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def create_topic(self, name: str, partitions: int) -> None:
        self._broker.create_topic(name, partitions)

    def publisher(self, queue: int) -> Publisher:
        return MemoryPublisher(self._broker, queue=queue)

    def consumer(self, name: str, group: str) -> RecordConsumer:
        return MemoryConsumer(self._broker, name, group)


class BatchingLibrary(MemoryLibrary):
    """Consumes as the projections without point reads do."""

    def consumer(self, name: str, group: str) -> RecordConsumer:
        return BatchingConsumer(super().consumer(name, group))


class ConfluentLibrary:
    def __init__(self, bootstrap: str, session_s: float) -> None:
        self._bootstrap = bootstrap
        self._session_s = session_s

    def create_topic(self, name: str, partitions: int) -> None:
        ensure_topics(self._bootstrap, [name], partitions)

    def publisher(self, queue: int) -> Publisher:
        return ConfluentPublisher(self._bootstrap, {"queue.buffering.max.messages": queue})

    def consumer(self, name: str, group: str) -> RecordConsumer:
        return ConfluentConsumer(self._bootstrap, name, group, session_timeout_s=self._session_s)


class KafkaPythonLibrary(ConfluentLibrary):
    def publisher(self, queue: int) -> Publisher:
        return KafkaPythonPublisher(self._bootstrap, max_in_flight=queue)

    def consumer(self, name: str, group: str) -> RecordConsumer:
        return KafkaPythonConsumer(self._bootstrap, name, group, session_timeout_s=self._session_s)


class Clients:
    """Creates clients of one library on one broker, and closes those that a test leaves open."""

    def __init__(self, library: Library, stack: ExitStack, topic_prefix: str, stop_broker: Callable[[], None]) -> None:
        self._library = library
        self._stack = stack
        self._prefix = topic_prefix
        self.stop_broker = stop_broker
        """Stops the broker, so that nothing is acknowledged any more; only for a broker that one test uses."""

    def new_topic(self, partitions: int = 4) -> str:
        """Create a topic that no other test uses. Returns its name."""
        name = f"{self._prefix}{uuid.uuid4().hex[:8]}"
        self._library.create_topic(name, partitions)
        return name

    def publisher(self, queue: int = QUEUE) -> Publisher:
        client = self._library.publisher(queue)
        self._stack.callback(client.close, 0.5)
        return client

    def consumer(self, name: str, group: str) -> RecordConsumer:
        # A group that only this test uses: otherwise a member of another test that is still leaving gets partitions.
        client = self._library.consumer(name, f"{self._prefix}{group}")
        self._stack.callback(client.close)
        return client


@contextmanager
def clients(library: Library, topic_prefix: str, stop_broker: Callable[[], None]) -> Iterator[Clients]:
    with ExitStack() as stack:
        yield Clients(library, stack, topic_prefix, stop_broker)


def library(name: str, bootstrap: str, session_s: float = TANSU_SESSION_S) -> Library:
    """The library with the given value of RIDELOG_KAFKA_CLIENT."""
    return {"confluent": ConfluentLibrary, "kafka-python": KafkaPythonLibrary}[name](bootstrap, session_s)


def out_records(topic: str, count: int, partitions: int = 4, first: int = 0) -> list[ProducerRecord]:
    """Record i goes to partition i mod ``partitions`` with the value str(i)."""
    return [
        ProducerRecord(topic, i % partitions, b"key", b"%d" % i, [("seq", b"%d" % i)])
        for i in range(first, first + count)
    ]


def hand_over(publisher: Publisher, batch_id: int, records: Sequence[ProducerRecord], *, serve: bool = False) -> None:
    """Publish until all are accepted: a library accepts none before it knows the topic, and few into a full queue.

    ``serve``: process delivery reports meanwhile, which empties the queue.
    """
    left = list(records)

    def handed_over() -> bool:
        # The batch is not sealed, so it cannot be acknowledged.
        assert not serve or batch_id not in publisher.acknowledged(0.0)
        del left[: publisher.publish(batch_id, left)]
        return not left

    eventually(handed_over, every_s=0.002, what="all records are accepted")


def publish_all(publisher: Publisher, batch_id: int, records: Sequence[ProducerRecord]) -> None:
    """Publish as one batch and wait until it is acknowledged."""
    hand_over(publisher, batch_id, records, serve=True)
    publisher.seal(batch_id)
    eventually(lambda: batch_id in publisher.acknowledged(0.1), every_s=0.0, what=f"batch {batch_id} is acknowledged")


def read(consumer: RecordConsumer, count: int, within_s: float = 20.0) -> list[ConsumerRecord]:
    """Poll until ``count`` records have arrived. AssertionError if they do not, or if more arrive with them."""
    records: list[ConsumerRecord] = []

    def enough() -> bool:
        records.extend(consumer.poll(1_000, 0.1))
        return len(records) >= count

    eventually(enough, within_s=within_s, every_s=0.0, what=f"{count} records are read")
    assert len(records) == count
    return records


def await_partitions(consumer: RecordConsumer, partitions: int, within_s: float = 20.0) -> None:
    """Poll until that many partitions are assigned. AssertionError if a record arrives."""

    def held() -> bool:
        assert consumer.poll(1, 0.05) == []
        return len(consumer.assignment()) == partitions

    eventually(held, within_s=within_s, every_s=0.0, what=f"{partitions} partitions are held")
