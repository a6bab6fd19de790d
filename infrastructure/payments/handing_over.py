"""Hands open payments over: in order within a rider, several riders at once, each until it fails or has none left."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from infrastructure.observability.visible_text import visible
from infrastructure.payments.provider import AnswerKind, Payment, PaymentProvider, ProviderAnswer
from infrastructure.postgres.payment_handovers import (
    DONE,
    HELD,
    OPEN,
    AnswerRecord,
    OpenHandover,
    PaymentHandovers,
)

log = logging.getLogger("ridelog.payments")

ATTEMPT_DELAYS_S: Final = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0)
"""After consecutive failures of one payment. A provider that is back after a night is called within five minutes."""
BOOKED_FROM_ATTEMPT = 6
"""A conflict at this attempt means that the payment is booked, if the attempt before began BOOKED_AFTER_S ago. At the
first conflicts the earlier request may still be in progress, and may fail: a payout that counted as done then would be
lost."""
BOOKED_AFTER_S = 15.0
"""Longer than a call may take in all (CALL_TIMEOUT_S). An attempt may follow another one at once, after a restart and
in a second process."""
RIDERS_AT_ONCE = 8
"""Calls that a provider gets at the same time at most."""
RIDERS_A_ROUND = 200
PAYMENTS_A_TURN = 50
"""Bounds the turn of one rider: the others of the round are not delayed by a rider with a long history."""

NOTHING_TO_PAY: Final = ProviderAnswer(AnswerKind.DONE, 0, "", "amount 0: no provider was called")
"""Providers refuse a payment of 0, and the rider's later payments would wait for a person."""


def payment_of(handover: OpenHandover) -> Payment:
    """The payment as the provider gets it."""
    ended_at_ms = round(handover.ended_at.timestamp() * 1_000)
    values = {name: getattr(handover, name) for name in Payment._fields if name != "ended_at_ms"}
    return Payment(**values, ended_at_ms=ended_at_ms)


def settled(answer: ProviderAnswer, attempt: int, since_s: float | None) -> ProviderAnswer:
    """The answer to the ``attempt``-th hand-over, a conflict as what it means then; pure.

    ``since_s``: from the beginning of the attempt before to that of this one.
    """
    if answer.kind is not AnswerKind.CONFLICT:
        return answer
    is_booked = attempt >= BOOKED_FROM_ATTEMPT and since_s is not None and since_s >= BOOKED_AFTER_S
    return answer._replace(kind=AnswerKind.DONE if is_booked else AnswerKind.RETRY)


def outcome(answer: ProviderAnswer, attempt: int) -> AnswerRecord:
    """What an answer to the ``attempt``-th hand-over leads to, as ``settled`` gives it; pure."""
    match answer.kind:
        case AnswerKind.DONE:
            return AnswerRecord(DONE, answer.status, answer.digest, answer.reason, 0.0)
        case AnswerKind.REFUSED:
            return AnswerRecord(HELD, answer.status, answer.digest, answer.reason, 0.0)
        case _:
            delay_s = ATTEMPT_DELAYS_S[min(attempt, len(ATTEMPT_DELAYS_S)) - 1]
            wait_s = max(delay_s, answer.retry_after_s)
            return AnswerRecord(OPEN, answer.status, answer.digest, answer.reason, wait_s)


class HandingOver:
    """One process at a time drives it; two at once would only send some payments twice, with the same key."""

    def __init__(
        self,
        handovers: PaymentHandovers,
        provider: PaymentProvider,
        stop: threading.Event,
        on_answer: Callable[[AnswerKind], None] = lambda kind: None,
    ) -> None:
        self._handovers = handovers
        self._provider = provider
        self._stop = stop
        self._on_answer = on_answer

    def round(self) -> int:
        """Hand over what is due. Returns how many payments the provider has taken.

        Raises PortUnavailable: the database is unavailable. What was answered meanwhile is handed over again, with the
        same key.
        """
        riders = self._handovers.due_riders(RIDERS_A_ROUND)
        if not riders:
            return 0
        with ThreadPoolExecutor(min(RIDERS_AT_ONCE, len(riders)), thread_name_prefix="payments") as pool:
            return sum(pool.map(self._turn, riders))

    def _turn(self, rider_id: str) -> int:
        """Hand over the entries of one rider in order, until one is not taken. A stop begins no turn."""
        if self._stop.is_set():
            return 0
        taken = 0
        handover = self._handovers.begin(rider_id)
        while handover is not None:
            answer = settled(self._answer(handover), handover.attempts, handover.since_attempt_s)
            record = outcome(answer, handover.attempts)
            taken += answer.kind is AnswerKind.DONE
            if answer.kind is not AnswerKind.DONE or taken == PAYMENTS_A_TURN or self._stop.is_set():
                self._handovers.record(handover.entry_id, record)
                self._log_refused(handover, answer)
                return taken
            # One commit an entry: this one is done, and the next one begins. A crash before it repeats this one, with
            # the same key.
            handover = self._handovers.begin(rider_id, (handover.entry_id, record))
        found = self._handovers.next_of(rider_id)
        if found is not None and not found.is_held:
            # Another process took it, or the active generation does not have it so.
            self._handovers.set_aside(found)
        return taken

    def _answer(self, handover: OpenHandover) -> ProviderAnswer:
        if not handover.amount_minor:
            return NOTHING_TO_PAY
        answer = self._provider.hand_over(payment_of(handover))
        self._on_answer(answer.kind)
        return answer

    def _log_refused(self, handover: OpenHandover, answer: ProviderAnswer) -> None:
        if answer.kind is AnswerKind.REFUSED:
            log.error(
                "the provider refused %s %s of rider %s (%s); that rider's payments wait: python app.py payments list",
                handover.kind,
                handover.entry_id,
                visible(handover.rider_id),
                answer.reason,
            )
