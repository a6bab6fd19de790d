"""The port of a payment provider: what is handed over, and what may be answered."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Protocol


class Payment(NamedTuple):
    """One payout, or one adjustment of one. Amounts in minor units of ``currency`` (ISO 4217); may be negative.

    ``entry_id`` is the payout's id, or the adjustment's: the provider's idempotency key. ``ended_at_ms``: the end of
    the leg, epoch milliseconds. ``period``: the ISO week of the statement.
    """

    entry_id: str
    payout_id: str
    kind: str
    rider_id: str
    order_id: str
    leg: str
    currency: str
    amount_minor: int
    period: str
    ended_at_ms: int
    position: int


class AnswerKind(StrEnum):
    """What an answer means for a hand-over."""

    DONE = "done"
    """The provider has the payment, now or from before."""
    CONFLICT = "conflict"
    """The provider knows the key: the payment is booked, or an earlier request for it is still in progress there."""
    RETRY = "retry"
    """It is unknown whether the provider has it, or it asks to be called later: the same call is repeated."""
    REFUSED = "refused"
    """The provider will answer a repetition alike: a person decides."""


class ProviderAnswer(NamedTuple):
    """One answer. ``status`` 0: none came. ``retry_after_s``: the least delay that the provider asks for, else 0.

    ``digest``: SHA-256 of the body, hexadecimal, empty without one. ``reason``: one line for people, without secrets.
    """

    kind: AnswerKind
    status: int
    digest: str
    reason: str
    retry_after_s: float = 0.0


class PaymentProvider(Protocol):
    """Called from several threads, each with payments of other riders."""

    def hand_over(self, payment: Payment) -> ProviderAnswer:
        """Hand over one payment. Every failure of the provider or of the network is an answer, not an exception."""
        ...
