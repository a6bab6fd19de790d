"""Tells when a broker has forgotten an idempotent producer for good.

A broker that comes back without its log (the embedded one always does) answers every batch with UNKNOWN_PRODUCER_ID.
librdkafka then asks for a higher epoch of the same id and sends again, without an end and without an error: nothing
would ever be acknowledged, and nobody would be told.
"""

from __future__ import annotations

MAX_EPOCHS_WITHOUT_DELIVERY = 10
"""A broker that only lost a connection or a leader costs one or two; a forgotten producer burns about 75 a second."""


class IdentityWatch:
    """Fed with the producer's epoch and its count of delivered records, in any rhythm."""

    def __init__(self) -> None:
        self._delivered = 0
        self._epoch_then = 0

    def is_forgotten(self, epoch: int, delivered: int) -> bool:
        """Whether the epoch keeps growing while nothing is delivered."""
        if delivered != self._delivered or epoch < self._epoch_then:
            self._delivered = delivered
            self._epoch_then = epoch
        return epoch - self._epoch_then > MAX_EPOCHS_WITHOUT_DELIVERY
