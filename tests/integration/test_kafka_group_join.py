"""A consumer that leaves its group before it has joined it must not lock the next one out."""

from __future__ import annotations

import pytest

from infrastructure.kafka.admin import ensure_topics
from infrastructure.kafka.factory import consumer
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
