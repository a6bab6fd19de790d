"""A broker that is killed and comes back at the same address without its log, as the embedded one always does."""

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


def test_no_record_is_acknowledged_that_the_new_broker_does_not_hold(broker: Tansu, kafka: Clients) -> None:
    name, publisher = kafka.new_topic(), kafka.publisher()
    publish_all(publisher, 1, out_records(name, 100))
    broker.kill()
    lost = out_records(name, 40, first=100)
    assert publisher.publish(2, lost) == 40
    publisher.seal(2)
    assert publisher.acknowledged(0.3) == []
    broker.start()
    ensure_topics(broker.url, [name], 4)
    # Either is right; to wait for ever, or to be told of records that nobody holds, is not.
    if _outcome(publisher) == FAILED:
        publisher.close(0.5)
        publish_all(kafka.publisher(), 1, lost)
    assert _values(kafka.topic(name, "later"), lost) >= {record.value for record in lost}


def test_a_publisher_that_outlived_an_idle_wipe_fails_or_goes_on(broker: Tansu, kafka: Clients) -> None:
    name, publisher = kafka.new_topic(), kafka.publisher()
    publish_all(publisher, 1, out_records(name, 100))
    broker.kill()
    broker.start()
    ensure_topics(broker.url, [name], 4)
    records = out_records(name, 40, first=100)
    try:
        # Not at once: a library that has just lost its broker may take none until it knows the topic anew.
        hand_over(publisher, 2, records)
        publisher.seal(2)
        outcome = _outcome(publisher)
    except PublishError:
        outcome = FAILED
    if outcome == FAILED:
        publish_all(kafka.publisher(), 2, records)
    assert _values(kafka.topic(name, "later"), records) >= {record.value for record in records}


def test_no_client_makes_a_missing_topic_with_the_brokers_number_of_partitions(broker: Tansu, kafka: Clients) -> None:
    name, publisher = kafka.new_topic(8), kafka.publisher()
    topic = kafka.topic(name, "g")
    publish_all(publisher, 1, out_records(name, 80, partitions=8))
    read(topic, 80)
    broker.kill()
    broker.start()
    publisher.publish(2, out_records(name, 8, partitions=8))
    publisher.seal(2)
    # Longer than either library takes to ask for the topic anew.
    for _ in range(30):
        assert topic.poll(10, 0.2) == []
    with admin(broker.url) as client:
        assert partition_counts(client, [name]) == {}


def test_a_consumer_goes_on_with_the_topic_made_again_under_new_epochs(broker: Tansu, kafka: Clients) -> None:
    name, publisher = kafka.new_topic(), kafka.publisher()
    topic = kafka.topic(name, "g")
    publish_all(publisher, 1, out_records(name, 400))
    read(topic, 400)
    topic.commit(dict.fromkeys(range(4), 100))
    before = dict(topic.assignment())
    broker.kill()
    assert topic.poll(10, 0.5) == []
    broker.start()
    ensure_topics(broker.url, [name], 4)
    # Offsets start at 0 again, far below those that were read and committed.
    fresh = out_records(name, 40, first=1_000)
    publish_all(kafka.publisher(), 1, fresh)
    found = _read_until(topic, {record.value for record in fresh})
    assert min(record.offset for record in found) == 0
    assert _all_newer(topic.assignment(), before)
    # And it stays: the next ones come without another rebalance.
    publish_all(kafka.publisher(), 2, out_records(name, 40, first=2_000))
    _read_until(topic, {b"%d" % n for n in range(2_000, 2_040)})


def test_a_consumer_started_while_the_topic_is_missing_gets_it_when_it_is_made(broker: Tansu, kafka: Clients) -> None:
    topic = kafka.topic("late", "g")
    assert topic.poll(10, 0.5) == []
    ensure_topics(broker.url, ["late"], 4)
    publish_all(kafka.publisher(), 1, out_records("late", 40))
    _read_until(topic, {b"%d" % n for n in range(40)})
    assert set(topic.assignment()) == {0, 1, 2, 3}


def _outcome(publisher: Publisher) -> str:
    """Wait for the acknowledgement of token 2, or for the failure."""

    def settled() -> str | None:
        try:
            return "acknowledged" if 2 in publisher.acknowledged(0.1) else None
        except PublishError:
            return FAILED

    return eventually(settled, within_s=60, every_s=0.0, what="acknowledged or failed") or FAILED


def _values(topic: RecordConsumer, records: list[ProducerRecord]) -> set[bytes]:
    return {record.value for record in _read_until(topic, {record.value for record in records})}


def _read_until(topic: RecordConsumer, values: set[bytes]) -> list[ConsumerRecord]:
    """Records may come more than once after a wipe; every one of ``values`` must come."""
    found: list[ConsumerRecord] = []

    def complete() -> bool:
        found.extend(topic.poll(1_000, 0.1))
        return values <= {record.value for record in found}

    eventually(complete, within_s=60, every_s=0.0, what=f"all of {len(values)} values are read")
    return found


def _all_newer(now: Mapping[int, int], before: Mapping[int, int]) -> bool:
    return now.keys() == before.keys() and all(epoch > before[partition] for partition, epoch in now.items())
