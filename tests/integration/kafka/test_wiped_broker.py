"""A broker that is killed and restarts at the same address without its log, as the embedded one always does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from infrastructure.embedded.tansu import Tansu
from infrastructure.kafka.admin import admin, ensure_topics, partition_counts
from infrastructure.kafka.ports import ProducerRecord, Publisher, PublishError
from projections.core.ports import ConsumerRecord, RecordConsumer
from tests.support.kafka.kafka_clients import Clients, clients, hand_over, library, out_records, publish_all, read
from tests.support.servers.servers import running
from tests.support.waiting import eventually

FAILED = "failed"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Tansu]:
    server = Tansu(tmp_path)
    with running(server):
        yield server


@pytest.fixture(params=["confluent", "kafka-python"])
def kafka(request: pytest.FixtureRequest, broker: Tansu) -> Iterator[Clients]:
    with clients(library(request.param, broker.url), "", broker.kill) as one:
        yield one


def test_no_record_is_acknowledged_that_the_new_broker_does_not_have(broker: Tansu, kafka: Clients) -> None:
    name, publisher = kafka.new_topic(), kafka.publisher()
    publish_all(publisher, 1, out_records(name, 100))
    broker.kill()
    lost = out_records(name, 40, first=100)
    assert publisher.publish(2, lost) == 40
    publisher.seal(2)
    assert publisher.acknowledged(0.3) == []
    broker.start()
    ensure_topics(broker.url, [name], 4)
    # Both outcomes are correct. Waiting forever, or an acknowledgement of records that the broker lost, is not.
    if _outcome(publisher) == FAILED:
        publisher.close(0.5)
        publish_all(kafka.publisher(), 1, lost)
    assert _values(kafka.consumer(name, "later"), lost) >= {record.value for record in lost}


def test_a_publisher_after_an_idle_wipe_fails_or_continues(broker: Tansu, kafka: Clients) -> None:
    name, publisher = kafka.new_topic(), kafka.publisher()
    publish_all(publisher, 1, out_records(name, 100))
    broker.kill()
    broker.start()
    ensure_topics(broker.url, [name], 4)
    records = out_records(name, 40, first=100)
    try:
        # Not in one call: a library that has just lost its broker may accept none until it has new metadata.
        hand_over(publisher, 2, records)
        publisher.seal(2)
        outcome = _outcome(publisher)
    except PublishError:
        outcome = FAILED
    if outcome == FAILED:
        publish_all(kafka.publisher(), 2, records)
    assert _values(kafka.consumer(name, "later"), records) >= {record.value for record in records}


def test_no_client_creates_a_missing_topic_with_the_brokers_number_of_partitions(broker: Tansu, kafka: Clients) -> None:
    name, publisher = kafka.new_topic(8), kafka.publisher()
    consumer = kafka.consumer(name, "g")
    publish_all(publisher, 1, out_records(name, 80, partitions=8))
    read(consumer, 80)
    broker.kill()
    broker.start()
    publisher.publish(2, out_records(name, 8, partitions=8))
    publisher.seal(2)
    # Longer than either library takes to request the topic's metadata again.
    for _ in range(30):
        assert consumer.poll(10, 0.2) == []
    with admin(broker.url) as client:
        assert partition_counts(client, [name]) == {}


def test_a_consumer_continues_with_the_recreated_topic_under_new_epochs(broker: Tansu, kafka: Clients) -> None:
    name, publisher = kafka.new_topic(), kafka.publisher()
    consumer = kafka.consumer(name, "g")
    publish_all(publisher, 1, out_records(name, 400))
    read(consumer, 400)
    consumer.commit(dict.fromkeys(range(4), 100))
    before = dict(consumer.assignment())
    broker.kill()
    assert consumer.poll(10, 0.5) == []
    broker.start()
    ensure_topics(broker.url, [name], 4)
    # Offsets start at 0 again, far below those that were read and committed.
    fresh = out_records(name, 40, first=1_000)
    publish_all(kafka.publisher(), 1, fresh)
    found = _read_until(consumer, {record.value for record in fresh})
    assert min(record.offset for record in found) == 0
    assert _all_newer(consumer.assignment(), before)
    # The assignment is stable: the next records arrive without another rebalance.
    publish_all(kafka.publisher(), 2, out_records(name, 40, first=2_000))
    _read_until(consumer, {b"%d" % n for n in range(2_000, 2_040)})


def test_a_consumer_started_before_its_topic_exists_gets_it_when_it_is_created(broker: Tansu, kafka: Clients) -> None:
    consumer = kafka.consumer("late", "g")
    assert consumer.poll(10, 0.5) == []
    ensure_topics(broker.url, ["late"], 4)
    publish_all(kafka.publisher(), 1, out_records("late", 40))
    _read_until(consumer, {b"%d" % n for n in range(40)})
    assert set(consumer.assignment()) == {0, 1, 2, 3}


def _outcome(publisher: Publisher) -> str:
    """Wait for the acknowledgement of batch 2, or for the failure."""

    def settled() -> str | None:
        try:
            return "acknowledged" if 2 in publisher.acknowledged(0.1) else None
        except PublishError:
            return FAILED

    return eventually(settled, within_s=60, every_s=0.0, what="acknowledged or failed") or FAILED


def _values(consumer: RecordConsumer, records: list[ProducerRecord]) -> set[bytes]:
    return {record.value for record in _read_until(consumer, {record.value for record in records})}


def _read_until(consumer: RecordConsumer, values: set[bytes]) -> list[ConsumerRecord]:
    """Read until every one of ``values`` has arrived. After a wipe, records may arrive more than once."""
    found: list[ConsumerRecord] = []

    def complete() -> bool:
        found.extend(consumer.poll(1_000, 0.1))
        return values <= {record.value for record in found}

    eventually(complete, within_s=60, every_s=0.0, what=f"all of {len(values)} values are read")
    return found


def _all_newer(now: Mapping[int, int], before: Mapping[int, int]) -> bool:
    return now.keys() == before.keys() and all(epoch > before[partition] for partition, epoch in now.items())
