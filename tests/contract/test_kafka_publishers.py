"""The Publisher port, on every adapter."""

from __future__ import annotations

import time
from itertools import groupby

import pytest

from infrastructure.kafka.ports import ProducerRecord, Publisher, PublishError
from tests.support.kafka.kafka_clients import Clients, hand_over, out_records, publish_all, read
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually


def test_keeps_the_order_within_each_partition(kafka: Clients) -> None:
    topic, publisher = kafka.new_topic(), kafka.publisher()
    for token in range(20):
        publish_all(publisher, token, out_records(topic, 50, first=50 * token))
    records = sorted(read(kafka.consumer(topic, "g"), 1_000), key=lambda r: (r.partition, r.offset))
    for partition, found in groupby(records, key=lambda r: r.partition):
        assert [int(r.value) for r in found] == list(range(partition, 1_000, 4))


def test_brings_key_value_and_headers_byte_for_byte(kafka: Clients) -> None:
    topic = kafka.new_topic(1)
    every_byte = bytes(range(256))
    headers = [("id", every_byte), ("empty", b""), ("twice", b"1"), ("twice", b"2"), ("höhe", "grüße".encode())]
    publish_all(kafka.publisher(), 1, [ProducerRecord(topic, 0, every_byte, every_byte * 40, headers)])
    (record,) = read(kafka.consumer(topic, "g"), 1)
    assert (record.topic, record.partition, record.offset) == (topic, 0, 0)
    assert (record.key, record.value, list(record.headers)) == (every_byte, every_byte * 40, headers)


def test_acknowledges_a_token_once_it_is_sealed_and_complete_and_only_once(kafka: Clients) -> None:
    topic, publisher = kafka.new_topic(), kafka.publisher()
    hand_over(publisher, 7, out_records(topic, 10))
    eventually(lambda: publisher.acknowledged(0.05) == [] and publisher.in_flight() == 0, every_s=0.0)
    assert publisher.acknowledged(0.0) == []
    hand_over(publisher, 7, out_records(topic, 10, first=10))
    publisher.seal(7)
    assert eventually(lambda: publisher.acknowledged(0.1), every_s=0.0) == [7]
    assert publisher.in_flight() == 0
    assert publisher.acknowledged(0.05) == []


def test_acknowledges_an_empty_token_when_it_is_sealed(kafka: Clients) -> None:
    publisher = kafka.publisher()
    publisher.seal(3)
    assert publisher.acknowledged(0.0) == [3]
    assert publisher.acknowledged(0.0) == []


def test_acknowledges_many_open_tokens_each_once(kafka: Clients) -> None:
    topic, publisher = kafka.new_topic(), kafka.publisher()
    for token in range(100):
        hand_over(publisher, token, out_records(topic, token % 3))
        publisher.seal(token)
    done: list[int] = []

    def all_done() -> bool:
        done.extend(publisher.acknowledged(0.1))
        return len(done) >= 100

    eventually(all_done, every_s=0.0)
    assert sorted(done) == list(range(100))


def test_takes_a_prefix_when_its_queue_is_full_and_does_not_wait(kafka: Clients) -> None:
    topic, publisher = kafka.new_topic(), kafka.publisher(queue=10)
    # The library knows the topic from here on: what is measured below is the full queue.
    publish_all(publisher, 0, out_records(topic, 4))
    records = out_records(topic, 1_000)
    started = time.monotonic()
    accepted = publisher.publish(1, records)
    assert time.monotonic() - started < scaled_s(2.0)
    assert 0 < accepted <= 10
    assert publisher.in_flight() == accepted
    publish_all(publisher, 1, records[accepted:])
    values = [int(r.value) for r in read(kafka.consumer(topic, "g"), 1_004) if r.partition == 1]
    assert values == [1, *range(1, 1_000, 4)]


def test_raises_a_failed_delivery_and_never_forgets_it(kafka: Clients) -> None:
    topic, publisher = kafka.new_topic(), kafka.publisher()
    publish_all(publisher, 1, out_records(topic, 8))
    with pytest.raises(PublishError):
        _publish_and_wait(publisher, [ProducerRecord(topic, 4, b"", b"there are only 0, 1, 2 and 3", [])])
    with pytest.raises(PublishError):
        publisher.publish(3, out_records(topic, 1))
    with pytest.raises(PublishError):
        publisher.acknowledged(0.0)


def test_closes_with_nothing_left_when_all_is_acknowledged(kafka: Clients) -> None:
    topic, publisher = kafka.new_topic(), kafka.publisher()
    hand_over(publisher, 1, out_records(topic, 100))
    assert publisher.close(20.0) == 0
    assert len(read(kafka.consumer(topic, "g"), 100)) == 100


def test_closes_in_time_and_returns_what_is_left_when_the_broker_is_unavailable(own_kafka: Clients) -> None:
    topic, publisher = own_kafka.new_topic(), own_kafka.publisher()
    publish_all(publisher, 1, out_records(topic, 8))
    own_kafka.stop_broker()
    assert publisher.publish(2, out_records(topic, 25)) == 25
    publisher.seal(2)
    assert publisher.acknowledged(0.3) == []
    assert publisher.in_flight() == 25
    started = time.monotonic()
    assert publisher.close(0.5) == 25
    assert time.monotonic() - started < 5.0


def _publish_and_wait(publisher: Publisher, records: list[ProducerRecord]) -> None:
    def acknowledged() -> bool:
        # A library may report the failure at once or with the delivery.
        return bool(publisher.acknowledged(0.1))

    if publisher.publish(2, records):
        publisher.seal(2)
    eventually(acknowledged, every_s=0.0)
