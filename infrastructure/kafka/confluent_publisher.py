"""Publishing through librdkafka."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from infrastructure.kafka.port import OutRecord, PublishError

log = logging.getLogger("ridelog.kafka")

SETTINGS: Mapping[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    # A record waits for the broker for as long as it takes: giving up would tear a hole (invariant 2).
    "message.timeout.ms": 0,
    # Java's hash, should anyone publish without naming the partition; librdkafka's own default differs.
    "partitioner": "murmur2_random",
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 262_144,
    "linger.ms": 5,
    "compression.type": "lz4",
}


class _Token:
    """Counts the records of one token; itself the delivery callback, so that none is made per record."""

    __slots__ = ("acked", "owner", "sealed", "sent", "token")

    def __init__(self, owner: ConfluentPublisher, token: int) -> None:
        self.owner = owner
        self.token = token
        self.sent = 0
        self.acked = 0
        self.sealed = False

    def __call__(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self.owner.failed(str(error))
            return
        self.acked += 1
        if self.sealed and self.acked == self.sent:
            self.owner.done(self.token)


class ConfluentPublisher:
    """``infrastructure.kafka.port.Publisher`` on confluent-kafka."""

    def __init__(self, bootstrap: str, overrides: Mapping[str, Any] | None = None) -> None:
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, **SETTINGS, "error_cb": self._on_error, **(overrides or {})}
        )
        self._tokens: dict[int, _Token] = {}
        self._done: list[int] = []
        self._failure: str | None = None

    def publish(self, token: int, records: Sequence[OutRecord]) -> int:
        entry = self._tokens.get(token)
        if entry is None:
            entry = self._tokens[token] = _Token(self, token)
        produce = self._producer.produce
        accepted = 0
        try:
            for record in records:
                produce(
                    record.topic,
                    record.value,
                    record.key,
                    record.partition,
                    on_delivery=entry,
                    headers=record.headers,
                )
                accepted += 1
        except BufferError:
            pass  # the queue is full: the caller hands over the rest later
        except KafkaException as error:
            raise PublishError(str(error)) from error
        finally:
            entry.sent += accepted
        return accepted

    def seal(self, token: int) -> None:
        entry = self._tokens.setdefault(token, _Token(self, token))
        entry.sealed = True
        if entry.acked == entry.sent:
            self.done(token)

    def acknowledged(self, timeout_s: float) -> list[int]:
        self._producer.poll(timeout_s)
        if self._failure is not None:
            raise PublishError(self._failure)
        done, self._done = self._done, []
        return done

    def in_flight(self) -> int:
        return len(self._producer)

    def close(self, timeout_s: float = 5.0) -> int:
        left = self._producer.flush(timeout_s)
        if left:
            # Whoever comes next publishes them again from the WAL; here they would only hold the process.
            self._producer.purge()
            self._producer.flush(1.0)
        return int(left)

    def done(self, token: int) -> None:
        del self._tokens[token]
        self._done.append(token)

    def failed(self, reason: str) -> None:
        self._failure = self._failure or reason

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self.failed(str(error))
        else:
            log.warning("Kafka: %s", error)
