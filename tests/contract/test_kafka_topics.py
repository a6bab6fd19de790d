"""The RecordConsumer port, on every adapter."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from projections.core.ports import PortUnavailable, RecordConsumer
from tests.support.kafka.kafka_clients import Clients, await_partitions, out_records, publish_all, read
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually

ALL = {0, 1, 2, 3}


def test_polls_in_offset_order_within_each_partition_without_gaps(kafka: Clients) -> None:
    name = kafka.new_topic()
    publish_all(kafka.publisher(), 1, out_records(name, 400))
    records = read(kafka.consumer(name, "g"), 400)
    for partition in ALL:
        assert [r.offset for r in records if r.partition == partition] == list(range(100))
        assert [int(r.value) for r in records if r.partition == partition] == list(range(partition, 400, 4))


def test_polls_at_most_as_many_as_asked(kafka: Clients) -> None:
    name, sizes = kafka.new_topic(), list[int]()
    publish_all(kafka.publisher(), 1, out_records(name, 100))
    topic = kafka.consumer(name, "g")

    def all_read() -> bool:
        sizes.append(len(topic.poll(7, 0.1)))
        return sum(sizes) == 100

    eventually(all_read, every_s=0.0)
    assert max(sizes) <= 7


def test_returns_at_once_with_what_there_is_and_empty_after_the_time_out(kafka: Clients) -> None:
    name = kafka.new_topic()
    topic, publisher = kafka.consumer(name, "g"), kafka.publisher()
    await_partitions(topic, 4)
    started = time.monotonic()
    assert topic.poll(10, 0.2) == []
    assert 0.15 < time.monotonic() - started < 2.0
    publish_all(publisher, 1, out_records(name, 1))
    started = time.monotonic()
    assert len(topic.poll(10, 15.0)) == 1
    assert time.monotonic() - started < 5.0


def test_reads_again_from_where_it_was_sought(kafka: Clients) -> None:
    name = kafka.new_topic()
    publish_all(kafka.publisher(), 1, out_records(name, 40))
    topic = kafka.consumer(name, "g")
    read(topic, 40)
    topic.seek(2, 6)
    assert [(r.partition, r.offset) for r in read(topic, 4)] == [(2, 6), (2, 7), (2, 8), (2, 9)]
    assert topic.poll(10, 0.3) == []


def test_a_seek_does_not_change_the_epoch(kafka: Clients) -> None:
    name = kafka.new_topic()
    publish_all(kafka.publisher(), 1, out_records(name, 40))
    topic = kafka.consumer(name, "g")
    read(topic, 40)
    before = dict(topic.assignment())
    topic.seek(2, 0)
    read(topic, 10)
    assert topic.assignment() == before


def test_starts_at_the_end_as_it_is_when_it_is_sought(kafka: Clients) -> None:
    name, publisher = kafka.new_topic(), kafka.publisher()
    for token in range(40):
        # One batch each: the embedded broker reports the end as one past the beginning of its last batch.
        publish_all(publisher, token, out_records(name, 4))
    topic = kafka.consumer(name, "g")
    read(topic, 160)
    for partition in ALL:
        topic.seek(partition, 0)
    topic.seek_to_end([0, 1])
    publish_all(publisher, 40, out_records(name, 4, first=1_000))
    found = read(topic, 1 + 1 + 41 + 41)
    assert [int(r.value) for r in found if r.partition in {0, 1}] in ([1_000, 1_001], [1_001, 1_000])


def test_refuses_to_seek_in_a_partition_that_it_does_not_hold(kafka: Clients) -> None:
    name = kafka.new_topic()
    topic = kafka.consumer(name, "g")
    await_partitions(topic, 4)
    with pytest.raises(PortUnavailable):
        topic.seek(4, 0)


def test_a_new_consumer_of_the_group_resumes_at_the_commit(kafka: Clients) -> None:
    name = kafka.new_topic()
    publish_all(kafka.publisher(), 1, out_records(name, 400))
    first = kafka.consumer(name, "g")
    read(first, 400)
    first.commit({0: 90, 1: 100, 2: 99, 3: 100})
    first.close()
    found = read(kafka.consumer(name, "g"), 11)
    assert sorted((r.partition, r.offset) for r in found) == [*((0, n) for n in range(90, 100)), (2, 99)]


def test_a_group_without_commits_starts_at_the_beginning(kafka: Clients) -> None:
    name = kafka.new_topic()
    publish_all(kafka.publisher(), 1, out_records(name, 4))
    first = kafka.consumer(name, "one")
    read(first, 4)
    first.commit(dict.fromkeys(ALL, 1))
    read(kafka.consumer(name, "other"), 4)


def test_holds_every_partition_of_a_topic_under_an_epoch(kafka: Clients) -> None:
    topic = kafka.consumer(kafka.new_topic(), "g")
    assert topic.assignment() == {}
    await_partitions(topic, 4)
    assert set(topic.assignment()) == ALL


def test_two_consumers_of_a_group_share_the_partitions_and_epochs_grow(kafka: Clients) -> None:
    name = kafka.new_topic()
    first = kafka.consumer(name, "g")
    await_partitions(first, 4)
    alone = dict(first.assignment())
    second = kafka.consumer(name, "g")
    with polled(first), polled(second):
        eventually(lambda: _shared(first, second), within_s=40, what="both hold two partitions")
    assert set(first.assignment()) | set(second.assignment()) == ALL
    shared = dict(first.assignment())
    assert all(epoch > alone[partition] for partition, epoch in shared.items())
    publish_all(kafka.publisher(), 1, out_records(name, 40))
    assert {r.partition for r in read(first, 20)} == set(first.assignment())
    assert {r.partition for r in read(second, 20)} == set(second.assignment())
    second.close()
    eventually(lambda: first.poll(1, 0.05) is not None and set(first.assignment()) == ALL, within_s=40, every_s=0.0)
    # A partition that was revoked has a newer epoch; one that stayed may keep its own.
    assert all(epoch > max(shared.values()) for p, epoch in first.assignment().items() if p not in shared)


def test_seeking_to_the_end_of_nothing_is_nothing(kafka: Clients) -> None:
    kafka.consumer(kafka.new_topic(), "g").seek_to_end([])


def test_stays_empty_and_refuses_to_seek_to_the_end_while_the_broker_is_unavailable(own_kafka: Clients) -> None:
    name = own_kafka.new_topic()
    topic = own_kafka.consumer(name, "g")
    await_partitions(topic, 4)
    own_kafka.stop_broker()
    assert topic.poll(10, 0.3) == []
    started = time.monotonic()
    with pytest.raises(PortUnavailable):
        topic.seek_to_end([0, 1])
    assert time.monotonic() - started < 10.0


def _shared(first: RecordConsumer, second: RecordConsumer) -> bool:
    return len(first.assignment()) == len(second.assignment()) == 2


@contextmanager
def polled(topic: RecordConsumer) -> Iterator[None]:
    """A consumer polled by its own thread, like every member of a real group: a thread that polls two in turn blocks
    each of them while the other one joins."""
    done = threading.Event()

    def poll() -> None:
        while not done.is_set():
            assert topic.poll(1, 0.05) == []

    poller = threading.Thread(target=poll, name="poller")
    poller.start()
    try:
        yield
    finally:
        done.set()
        poller.join(timeout=scaled_s(30))
    assert not poller.is_alive()
