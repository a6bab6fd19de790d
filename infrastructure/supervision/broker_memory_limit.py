"""Drains and restarts the embedded broker, which keeps its log in memory, once it holds too many records or batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple, Protocol

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.event_store.log_head import LogNotInitialised, read_head
from infrastructure.kafka.silent_client import silent_kafka_python

log = logging.getLogger(__name__)

COUNT_INTERVAL_S = 15.0
DRAIN_S = 5.0
"""Time for the consumers to read what the broker holds. The restart loses the records that they did not read, and they
read those from the event store instead (invariant 4): this saves work, and correctness does not depend on it."""

MAX_BATCHES = 10_000
"""Batches of one partition. For each fetch that finds a record the broker lists all of them: at this number it takes
some 8 ms of CPU for each consumer (``benchmarks.broker_batches``)."""
BATCHES_INTERVAL_S = 900.0
"""From one restart until the next one for MAX_BATCHES. Features stand still for some ten seconds at each: a high load,
whose fetches find many records at once, would otherwise stop more often than it gains."""


_ADVICE = "Nothing is lost. To avoid the pause, set RIDELOG_KAFKA_BOOTSTRAP to a Kafka of your own"


class BrokerContents(NamedTuple):
    """How many records the broker holds, in all and in the partition that has most."""

    records: int
    most_in_partition: int


class Restarter(Protocol):
    """The part of the supervisor that a restart needs."""

    def hold(self, name: str) -> None: ...
    def release(self, name: str) -> None: ...
    def restart(self, name: str) -> None: ...
    def is_repaired(self, name: str) -> bool: ...


class BrokerMemoryLimit:
    """Restarts the broker once it holds more than ``max_records`` or MAX_BATCHES; the tailer waits meanwhile.

    The broker does not say how many batches it holds. In one partition these are at most its records, and hardly more
    than the transactions of the log: only one that is larger than a batch has two.
    """

    def __init__(
        self,
        supervisor: Restarter,
        count: Callable[[], BrokerContents],
        transactions: Callable[[], int],
        max_records: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``transactions``: those of the log since its begin.

        Both callables may raise KafkaError, SQLAlchemyError or LogNotInitialised: the next count is tried then.
        """
        self._supervisor = supervisor
        self._count = count
        self._transactions = transactions
        self._max_records = max_records
        self._clock = clock
        self._started_at = clock()
        self._transactions_before: int | None = None
        """Those of the log when the broker was empty; None: not known yet."""
        self._next_count = self._started_at + COUNT_INTERVAL_S
        self._drain_until: float | None = None
        self._restarting = False

    def check(self) -> None:
        """Take the next step if it is due. Never waits."""
        now = self._clock()
        if self._restarting:
            if self._supervisor.is_repaired("kafka"):
                self._restarting = False
                self._started_at = now
                self._supervisor.release("tailer")
        elif self._drain_until is not None:
            if now >= self._drain_until:
                self._drain_until, self._restarting = None, True
                self._transactions_before = None
                self._supervisor.restart("kafka")
        elif now >= self._next_count:
            self._next_count = now + COUNT_INTERVAL_S
            self._drain_if_full(now)

    def _drain_if_full(self, now: float) -> None:
        try:
            held, batches = self._held()
        except (KafkaError, SQLAlchemyError, LogNotInitialised) as error:
            log.warning("the records of the embedded broker cannot be counted now (%s); retrying", error)
            return
        if held.records > self._max_records:
            log.warning(
                "the embedded broker holds %d records in memory, more than %d: it is drained and restarted. %s",
                held.records,
                self._max_records,
                _ADVICE,
            )
        elif batches > MAX_BATCHES and now - self._started_at >= BATCHES_INTERVAL_S:
            log.warning(
                "the embedded broker holds up to %d batches of records in one partition, which makes it slow: it is "
                "drained and restarted. %s",
                batches,
                _ADVICE,
            )
        else:
            return
        self._supervisor.hold("tailer")
        self._drain_until = now + DRAIN_S

    def _held(self) -> tuple[BrokerContents, int]:
        """What the broker holds, and how many batches there are at most in one partition."""
        held, transactions = self._count(), self._transactions()
        if self._transactions_before is None or transactions < self._transactions_before:
            # The first count since a start, or a log that was restored: one count interval of batches is not known.
            self._transactions_before = transactions
        return held, min(held.most_in_partition, transactions - self._transactions_before)


def count_records(bootstrap: str, topic_prefix: str) -> BrokerContents:
    """The records that the broker holds in topics with the prefix.

    Of the last batch of each partition only one record is counted: the embedded broker reports no more. Raises
    KafkaError if the broker does not answer.
    """
    with (
        silent_kafka_python(),
        closing(
            KafkaConsumer(bootstrap_servers=bootstrap, request_timeout_ms=4000, bootstrap_timeout_ms=4000)
        ) as consumer,
    ):
        partitions = [
            TopicPartition(topic, partition)
            for topic in consumer.topics()
            if topic.startswith(topic_prefix) and not topic.startswith("__")
            for partition in consumer.partitions_for_topic(topic) or ()
        ]
        begin, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        records = [end[partition] - begin[partition] for partition in partitions]
        return BrokerContents(sum(records), max(records, default=0))


def count_transactions(engine: Engine) -> int:
    """The transactions that have recorded events. Raises SQLAlchemyError, LogNotInitialised."""
    with engine.connect() as connection:
        return read_head(connection).number
