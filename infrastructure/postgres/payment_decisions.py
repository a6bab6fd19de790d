"""What persons decide on payments that wait for them: hand over again, never hand over, or settled another way."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import Engine, TextClause

from infrastructure.postgres import payment_statements as sql
from infrastructure.postgres.errors import unavailable_as_port_error


class PaymentDecision(StrEnum):
    """What becomes of an entry."""

    RETRY = "retry"
    """A held one is handed over again, with the same key."""
    SKIP = "skip"
    """A held one is never handed over."""
    SETTLE = "settle"
    """The difference between what was handed over and what payouts say now was paid another way."""


class DecidedPayment(NamedTuple):
    """An entry that can be decided on.

    ``amount_minor``: minor units of ``currency`` that the decision is about: those of the entry, or the difference.
    """

    entry_id: str
    rider_id: str
    currency: str
    amount_minor: int


_FIND: Final[dict[PaymentDecision, TextClause]] = {
    PaymentDecision.RETRY: sql.FIND_HELD,
    PaymentDecision.SKIP: sql.FIND_HELD,
    PaymentDecision.SETTLE: sql.FIND_DIFFERING,
}
_DECIDE: Final[dict[PaymentDecision, TextClause]] = {
    PaymentDecision.RETRY: sql.RELEASE,
    PaymentDecision.SKIP: sql.SKIP,
    PaymentDecision.SETTLE: sql.SETTLE,
}


class PaymentDecisions:
    """Finds what a decision can be taken on, and takes it. Blocks. Every method raises PortUnavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, decision: PaymentDecision, entry_ids: Sequence[str] | None) -> list[DecidedPayment]:
        """Those of the entries that wait for this decision, by rider and in their order; None: all that wait."""
        parameters = {"entry_ids": None if entry_ids is None else list(entry_ids)}
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return [DecidedPayment(*row) for row in connection.execute(_FIND[decision], parameters)]

    def decide(self, decision: PaymentDecision, seen: Sequence[DecidedPayment], reason: str = "") -> list[str]:
        """Take the decision on the entries as they were seen. Returns the ids of those that it was taken on.

        One whose amount is another one by now, or that another person has decided on, is left as it is: what a person
        has confirmed is what is recorded. ``reason``: for the record; a retry has none.
        """
        parameters = {
            "entry_ids": [one.entry_id for one in seen],
            "amounts": [one.amount_minor for one in seen],
        }
        if decision is not PaymentDecision.RETRY:
            parameters["reason"] = reason
        with unavailable_as_port_error(), self._engine.begin() as connection:
            taken = set(connection.execute(_DECIDE[decision], parameters).scalars())
        return [one.entry_id for one in seen if one.entry_id in taken]
