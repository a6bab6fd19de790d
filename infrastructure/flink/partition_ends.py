"""Asks Kafka for the ends of partitions, with a client of its own: Flink's source does not tell them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from infrastructure.kafka.clients import bootstrap
from infrastructure.settings.kafka_address import kafka_address
from infrastructure.settings.settings import Settings
from projections.core.ports import ConsumerUnusable

ENDS_TIMEOUT_S = 5.0


class PartitionEnds:
    """Returns the end offsets of the partitions of one topic."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._address = kafka_address(bootstrap(settings))
        self._topic = topic
        self._consumer: Consumer | None = None

    def __call__(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Raises ConsumerUnusable if Kafka does not answer."""
        if self._consumer is None:
            own = {"group.id": "ridelog-ends", "enable.auto.commit": False}
            self._consumer = Consumer({**self._address.librdkafka(), **own})
        try:
            return {
                partition: self._consumer.get_watermark_offsets(
                    TopicPartition(self._topic, partition), ENDS_TIMEOUT_S, cached=False
                )[1]
                for partition in partitions
            }
        except (KafkaException, TypeError) as error:  # None instead of a pair after the time-out
            self.close()
            raise ConsumerUnusable(
                f"Kafka at {self._address}: the ends of {self._topic} are unknown{self._address.hint}: {error}"
            ) from error

    def close(self) -> None:
        """Close the connection; the next call opens one."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
