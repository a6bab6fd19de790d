"""The publisher of ``MemoryBroker``; a test decides when, in which order and whether deliveries are acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from infrastructure.kafka.memory import MemoryBroker, UnknownPartition
from infrastructure.kafka.port import OutRecord, PublishError
from infrastructure.kafka.tokens import Token, Tokens


class MemoryPublisher:
    """``infrastructure.kafka.port.Publisher``. Never waits.

    ``held``: records are written, and acknowledged only by ``release``.
    """

    def __init__(self, broker: MemoryBroker, *, capacity: int = 100_000, held: bool = False) -> None:
        self._broker = broker
        self._capacity = capacity
        self._tokens = Tokens()
        self._reports: deque[tuple[Token, str | None]] = deque()
        self._failing: str | None = None
        self.held = held

    def fail_next(self, reason: str) -> None:
        """The next record published is not written, and its delivery fails."""
        self._failing = reason

    def release(self, records: int | None = None, *, newest_first: bool = False) -> None:
        """Acknowledge that many records now (all by default), whether held or not."""
        for _ in range(len(self._reports) if records is None else records):
            token, error = self._reports.pop() if newest_first else self._reports.popleft()
            token.delivered(error, None)

    def publish(self, token: int, records: Sequence[OutRecord]) -> int:
        self._raise_failure()
        entry = self._tokens.of(token)
        accepted = records[: max(0, self._capacity - self._tokens.in_flight)]
        for record in accepted:
            self._reports.append((entry, self._write(record)))
        entry.sent(len(accepted))
        return len(accepted)

    def seal(self, token: int) -> None:
        self._tokens.of(token).seal()

    def acknowledged(self, timeout_s: float) -> list[int]:
        if not self.held:
            self.release()
        self._raise_failure()
        return self._tokens.take()

    def in_flight(self) -> int:
        return self._tokens.in_flight

    def close(self, timeout_s: float = 5.0) -> int:
        if not self.held:
            self.release()
        return self._tokens.in_flight

    def _write(self, record: OutRecord) -> str | None:
        failing, self._failing = self._failing, None
        if failing is not None:
            return failing
        try:
            self._broker.append(record.topic, record.partition, record.key, record.value, record.headers)
        except UnknownPartition as error:
            return f"unknown partition: {error}"
        return None

    def _raise_failure(self) -> None:
        if self._tokens.failure is not None:
            raise PublishError(self._tokens.failure)
