"""Topics and offsets as the supervisor, the tailer and ``status`` ask for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from infrastructure.embedded.server import free_port
from infrastructure.kafka.admin import TopicError, admin, ensure_topics, partition_counts
from infrastructure.kafka.lag import end_offsets, group_lag, start_offsets
from tests.support.kafka.kafka_clients import clients, library, out_records, publish_all, read
from tests.support.waiting import eventually


def test_makes_missing_topics_and_leaves_the_others_as_they_are(kafka_bootstrap: str, topic_prefix: str) -> None:
    names = [f"{topic_prefix}{n}" for n in range(3)]
    ensure_topics(kafka_bootstrap, names[:1], 8)
    for _ in range(2):
        ensure_topics(kafka_bootstrap, names, 8)
    with admin(kafka_bootstrap) as client:
        assert partition_counts(client, names) == dict.fromkeys(names, 8)


def test_two_processes_may_make_the_same_topics(kafka_bootstrap: str, topic_prefix: str) -> None:
    names = [f"{topic_prefix}{n}" for n in range(3)]
    with ThreadPoolExecutor(4) as pool:
        made = [pool.submit(ensure_topics, kafka_bootstrap, names, 4) for _ in range(4)]
        assert [one.result() for one in made] == [None] * 4
    with admin(kafka_bootstrap) as client:
        assert partition_counts(client, names) == dict.fromkeys(names, 4)


def test_asking_for_a_missing_topic_does_not_make_it(kafka_bootstrap: str, topic_prefix: str) -> None:
    missing = f"{topic_prefix}missing"
    with admin(kafka_bootstrap) as client:
        assert partition_counts(client, [missing]) == {}
        assert partition_counts(client, [missing]) == {}
    with pytest.raises(TopicError, match="there is no topic"):
        end_offsets(kafka_bootstrap, missing)


def test_refuses_a_topic_with_another_number_of_partitions_and_makes_no_other(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    old, new = f"{topic_prefix}old", f"{topic_prefix}new"
    ensure_topics(kafka_bootstrap, [old], 4)
    with pytest.raises(TopicError, match=f"{old}.*4.*RIDELOG_TOPIC_PARTITIONS=8.*RIDELOG_TOPIC_PREFIX"):
        ensure_topics(kafka_bootstrap, [old, new], 8)
    with admin(kafka_bootstrap) as client:
        assert partition_counts(client, [old, new]) == {old: 4}


@pytest.mark.parametrize("partitions", [0, 3, 128])
def test_refuses_a_number_of_partitions_that_does_not_divide_the_shards(partitions: int) -> None:
    with pytest.raises(TopicError, match=str(partitions)):
        ensure_topics("127.0.0.1:1", ["x"], partitions)


@pytest.mark.parametrize(
    "ask",
    [
        lambda bootstrap: ensure_topics(bootstrap, ["x"], 8, timeout_s=1.0),
        lambda bootstrap: end_offsets(bootstrap, "x", timeout_s=1.0),
        lambda bootstrap: group_lag(bootstrap, "g", "x", timeout_s=1.0),
    ],
    ids=["ensure_topics", "end_offsets", "group_lag"],
)
def test_says_in_time_that_the_broker_is_away(ask: Callable[[str], object]) -> None:
    bootstrap = f"127.0.0.1:{free_port()}"
    started = time.monotonic()
    with pytest.raises(TopicError, match=f"Kafka at {bootstrap} does not answer within 1 s"):
        ask(bootstrap)
    assert time.monotonic() - started < 6.0


def test_tells_offsets_and_how_far_a_group_has_committed(kafka_bootstrap: str, topic_prefix: str) -> None:
    with clients(library("confluent", kafka_bootstrap), topic_prefix, lambda: None) as kafka:
        name, publisher = kafka.new_topic(2), kafka.publisher()
        for token in range(10):
            # One batch each: the embedded broker counts the last batch of a partition as one record.
            publish_all(publisher, token, out_records(name, 2, partitions=2))
        group = f"{topic_prefix}group"
        assert start_offsets(kafka_bootstrap, name) == {0: 0, 1: 0}
        assert end_offsets(kafka_bootstrap, name) == {0: 10, 1: 10}
        assert [one.committed for one in group_lag(kafka_bootstrap, group, name).values()] == [None, None]
        topic = kafka.topic(name, "group")
        read(topic, 20)
        topic.commit({0: 7, 1: 10})
        lag = eventually(lambda: _lags(kafka_bootstrap, group, name), what="the commit is seen")
        assert lag == {0: 3, 1: 0}


def _lags(bootstrap: str, group: str, topic: str) -> dict[int, int] | None:
    found = group_lag(bootstrap, group, topic)
    if any(one.committed is None for one in found.values()):
        return None
    return {partition: one.records for partition, one in found.items()}
