"""Shows decisions on payments: each payment with its amount, the sums by currency, and the outcome for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from infrastructure.postgres.payment_decisions import DecidedPayment, PaymentDecision

MAX_SHOWN_PAYMENTS = 20


class DecisionVerbs(NamedTuple):
    """How a decision is named: as a command, as done, and what it needs of a payment."""

    command: str
    done: str
    expected: str


VERBS: Final[dict[PaymentDecision, DecisionVerbs]] = {
    PaymentDecision.RETRY: DecisionVerbs("hand over again", "handed over again", "held"),
    PaymentDecision.SKIP: DecisionVerbs("skip", "skipped", "held"),
    PaymentDecision.SETTLE: DecisionVerbs("settle the differences of", "settled", "different"),
}


def sums_of(payments: Sequence[DecidedPayment]) -> list[dict[str, Any]]:
    """How many payments there are of each currency, and the sum of their amounts in minor units."""
    counts, amounts = Counter[str](), Counter[str]()
    for one in payments:
        counts[one.currency] += 1
        amounts[one.currency] += one.amount_minor
    return [
        {"currency": currency, "payments": counts[currency], "amount_minor": amounts[currency]}
        for currency in sorted(counts)
    ]


def shown(decision: PaymentDecision, payments: Sequence[DecidedPayment]) -> Iterator[str]:
    """Lines for people: the first payments with rider and amount, then the sums of all."""
    if not payments:
        yield f"no payment is {VERBS[decision].expected}"
        return
    for one in payments[:MAX_SHOWN_PAYMENTS]:
        yield f"{one.entry_id}  rider {one.rider_id}  {one.amount_minor:,} minor units of {one.currency}"
    if len(payments) > MAX_SHOWN_PAYMENTS:
        yield f"and {len(payments) - MAX_SHOWN_PAYMENTS:,} more"
    riders = len({one.rider_id for one in payments})
    sums = ", ".join(f"{one['amount_minor']:,} minor units of {one['currency']}" for one in sums_of(payments))
    yield f"{VERBS[decision].command} {len(payments):,} payments of {riders:,} riders: {sums} in all"


def document_of(
    decision: PaymentDecision,
    payments: Sequence[DecidedPayment],
    done: Sequence[str],
    missing: Sequence[str],
    *,
    dry_run: bool,
) -> dict[str, Any]:
    """The same for programs. ``done`` of a payment: the decision was taken on it."""
    taken = set(done)
    return {
        "decision": decision.value,
        "dry_run": dry_run,
        "sums": sums_of(payments),
        "payments": [one._asdict() | {"done": one.entry_id in taken} for one in payments],
        f"not_{VERBS[decision].expected}": list(missing),
    }
