"""What the kafka-python adapters share."""

from __future__ import annotations

from typing import Any

from kafka.net.compat import KafkaNetClient


def client_without_auto_create(**settings: Any) -> Any:
    """For the ``kafka_client`` setting of a producer or consumer.

    kafka-python 3.0 takes ``allow_auto_create_topics=False`` and does not hand it on: its metadata requests create
    missing topics with the broker's number of partitions, which is the wrong one for the topic's whole life.
    """
    client = KafkaNetClient(**settings)
    client.cluster.config["allow_auto_create_topics"] = False
    return client
