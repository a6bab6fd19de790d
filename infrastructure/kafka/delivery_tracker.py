"""Tracks which batches are acknowledged; every publisher uses it. Not thread-safe: one thread calls it."""

from __future__ import annotations


class PendingBatch:
    """Counts the records of one batch. ``delivered`` is its delivery callback: one per batch, not one per record."""

    __slots__ = ("_batch_id", "_owner", "_sealed", "_waiting")

    def __init__(self, owner: DeliveryTracker, batch_id: int) -> None:
        self._owner = owner
        self._batch_id = batch_id
        self._waiting = 0
        self._sealed = False

    def sent(self, records: int) -> None:
        """Count ``records`` more that were handed over."""
        self._waiting += records
        self._owner.in_flight += records

    def delivered(self, error: object, _message: object) -> None:
        """One record of this batch_id was acknowledged, or failed if ``error`` is not None."""
        owner = self._owner
        if error is not None:
            owner.fail(str(error))
            return
        owner.in_flight -= 1
        owner.delivered += 1
        self._waiting -= 1
        # Only if sealed: before that, zero waiting records can mean that the next ones are not handed over yet.
        if self._sealed and not self._waiting:
            owner.finish(self._batch_id)

    def seal(self) -> None:
        """Declare that no more records follow."""
        self._sealed = True
        if not self._waiting:
            self._owner.finish(self._batch_id)


class DeliveryTracker:
    """The batches of one publisher: those in flight, and the acknowledged ones that the caller has not taken yet."""

    def __init__(self) -> None:
        self._open: dict[int, PendingBatch] = {}
        self._finished: list[int] = []
        self.in_flight = 0
        """Records handed over and not acknowledged."""
        self.delivered = 0
        """Records acknowledged since the start."""
        self.failure: str | None = None
        """Why the first failed delivery failed. It is permanent: records after the failed one may be published."""

    def batch(self, batch_id: int) -> PendingBatch:
        """The batch_id of that batch_id, made on first use."""
        batch = self._open.get(batch_id)
        if batch is None:
            batch = self._open[batch_id] = PendingBatch(self, batch_id)
        return batch

    def finish(self, batch_id: int) -> None:
        """Record that every record of a sealed batch is acknowledged."""
        del self._open[batch_id]
        self._finished.append(batch_id)

    def fail(self, reason: str) -> None:
        """Remember the first failure."""
        self.failure = self.failure or reason

    def any_finished(self) -> bool:
        """Whether ``take`` would return something."""
        return bool(self._finished)

    def take(self) -> list[int]:
        """Return the acknowledged batches, each once."""
        taken, self._finished = self._finished, []
        return taken
