"""A consumer whose join does not complete leaves a working group."""

from __future__ import annotations

import pytest

from infrastructure.kafka.admin import admin, ensure_topics
from infrastructure.kafka.clients import consumer
from infrastructure.kafka.kafka_python_consumer import KafkaPythonConsumer
from tests.support.waiting import eventually


@pytest.mark.parametrize("polls", [0, 1, 10])
def test_regression_a_consumer_closed_while_it_joins_leaves_a_group_that_works(
    kafka_bootstrap: str, topic_prefix: str, polls: int
) -> None:
    topic = f"{topic_prefix}pings"
    ensure_topics(kafka_bootstrap, [topic], 8)
    first = consumer("confluent", kafka_bootstrap, topic, topic_prefix)
    for _ in range(polls):
        first.poll(1, 0.1)
    first.close()
    second = consumer("confluent", kafka_bootstrap, topic, topic_prefix)

    def held() -> int:
        second.poll(1, 0.1)
        return len(second.assignment())

    eventually(lambda: held() == 8, within_s=20, what="the next consumer holds every partition")
    second.close()


def test_regression_a_join_that_outlasts_a_poll_is_not_forgotten(apache_bootstrap: str, topic_prefix: str) -> None:
    """kafka-python forgot a join that started because the topic had changed, and then never held a partition."""
    topic = f"{topic_prefix}pings"
    ensure_topics(apache_bootstrap, [topic], 2)
    member = KafkaPythonConsumer(apache_bootstrap, topic, topic_prefix, overrides={"metadata_max_age_ms": 200})

    def held(timeout_s: float) -> int:
        member.poll(1, timeout_s)
        return len(member.assignment())

    try:
        eventually(lambda: held(0.1) == 2, what="both partitions are held")
        with admin(apache_bootstrap) as client:
            client.create_partitions({topic: 4})
        eventually(lambda: held(0.001) == 0, what="it rejoins")
        for _ in range(100):
            held(0.001)
        eventually(lambda: held(0.1) == 4, what="the partitions that were added later are held too")
    finally:
        member.close()
