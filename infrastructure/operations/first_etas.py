"""Records the first live answer of the ETA in each leg of an order as an event, in a thread of its own.

No request waits for it, or fails because of it. The aggregate decides what is first, so at most one answer a leg is
recorded, across processes and restarts; what is remembered here only saves commands.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from eventsourcing.persistence import IntegrityError, PersistenceError

from domain.deliveries.batch import CommandOutcome
from domain.deliveries.commands import DeliveryCommand, RecordEta
from domain.features.eta.quantiles import EtaQuantiles
from infrastructure.observability import metrics

log = logging.getLogger("ridelog.served")

WRITE_INTERVAL_S = 0.25
MAX_BATCH_ETAS = 500
"""Answers in one transaction: pings wait for their turn no longer than they do for a batch of commands."""
MAX_WAITING_ETAS = 5_000
"""Answers that wait to be recorded (invariant 15): what a few seconds record."""
MAX_REMEMBERED_LEGS = 100_000
"""Legs that are known to be recorded. The answer of a forgotten one is decided again, and found to be a repeat."""

SOURCE = "ridelog-api"
"""The source of the events: no dispatcher sent them."""


class OrderLeg(NamedTuple):
    order_id: str
    leg: str


Record = Callable[[Sequence[DeliveryCommand]], list[CommandOutcome]]
"""Decides and records commands in one transaction. Raises the library's PersistenceError."""


class FirstEtas:
    """Called with every live answer, in the request's thread; its own thread records the first of each leg.

    A full queue drops the answer and counts it; the next answer of that leg is recorded instead. While the event store
    is unavailable, answers wait within the bound.
    """

    def __init__(
        self,
        record: Record,
        *,
        max_waiting: int = MAX_WAITING_ETAS,
        max_remembered: int = MAX_REMEMBERED_LEGS,
    ) -> None:
        self._record = record
        self._max_waiting = max_waiting
        self._max_remembered = max_remembered
        self._waiting: deque[RecordEta] = deque()
        self._remembered: OrderedDict[OrderLeg, None] = OrderedDict()
        self._mutex = threading.Lock()
        # Prometheus sees no increase in a counter that starts at 1.
        for outcome in ("recorded", "repeated", "refused", "dropped"):
            metrics.FIRST_ETAS.labels(outcome)
        self._stop = threading.Event()
        # A daemon: a server that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="first-etas", daemon=True)

    def __call__(self, answer: Mapping[str, Any], of_model: EtaQuantiles) -> None:
        """``answer``: the values of ``eta_answer``. ``of_model``: its quantiles before calibration."""
        key = OrderLeg(answer["order_id"], answer["features"]["leg"])
        if key in self._remembered:
            return
        with self._mutex:
            if len(self._waiting) >= self._max_waiting:
                metrics.FIRST_ETAS.labels("dropped").inc()
                return
            self._remember(key)
            self._waiting.append(_command(key, answer, of_model))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Record what waits if the event store answers at once, and stop."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def clear(self) -> None:
        """Forget what is recorded, because the log was restored: it may lack events that were recorded."""
        with self._mutex:
            self._remembered.clear()
            # What waits is still to be recorded once.
            for command in self._waiting:
                self._remember(_key(command))

    def flush(self) -> None:
        """Record what waits now. What cannot be recorded now goes on waiting."""
        for _ in range(-(-len(self._waiting) // MAX_BATCH_ETAS)):
            with self._mutex:
                batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH_ETAS, len(self._waiting)))]
            try:
                self._record_batch(batch)
            except PersistenceError as error:
                # At INFO only: the stages themselves report the unavailable server.
                log.info("%s first ETAs wait to be recorded: %s", f"{len(batch):,}", error)
                self._wait_again(batch)
                return

    def _record_batch(self, batch: Sequence[RecordEta]) -> None:
        """Raises PersistenceError if nothing of ``batch`` could be recorded now."""
        try:
            outcomes = self._record(batch)
        except IntegrityError as error:
            if len(batch) > 1:
                # The log does not continue one aggregate. Only the answer of that order may fail.
                for command in batch:
                    self._record_batch([command])
                return
            log.error("the first ETA of an order is not recorded: %s", error)
            self._forget(batch)
            return
        except PersistenceError:
            raise
        except Exception:
            # No error may end the recording of later answers.
            log.exception("%s first ETAs are not recorded", f"{len(batch):,}")
            self._forget(batch)
            return
        for outcome in outcomes:
            # A refused leg stays remembered: its next answer would be refused for the same reason.
            what = "recorded" if outcome.recorded else "repeated" if outcome.rejection is None else "refused"
            metrics.FIRST_ETAS.labels(what).inc()

    def _wait_again(self, batch: Sequence[RecordEta]) -> None:
        """Put the first of ``batch`` that the bound has room for before the others."""
        with self._mutex:
            room = max(0, self._max_waiting - len(self._waiting))
            self._waiting.extendleft(reversed(batch[:room]))
        self._forget(batch[room:], "dropped")

    def _forget(self, batch: Sequence[RecordEta], why: str = "refused") -> None:
        """Count answers that are not recorded; the next answers of their legs are tried."""
        with self._mutex:
            for command in batch:
                self._remembered.pop(_key(command), None)
        metrics.FIRST_ETAS.labels(why).inc(len(batch))

    def _remember(self, key: OrderLeg) -> None:
        self._remembered[key] = None
        while len(self._remembered) > self._max_remembered:
            self._remembered.popitem(last=False)

    def _run(self) -> None:
        while not self._stop.wait(WRITE_INTERVAL_S):
            self.flush()
        self.flush()


def _key(command: RecordEta) -> OrderLeg:
    return OrderLeg(command.order_id, command.leg)


def _command(key: OrderLeg, answer: Mapping[str, Any], of_model: EtaQuantiles) -> RecordEta:
    """The answer's one clock reading is the time of the event and of its reception."""
    return RecordEta(
        order_id=key.order_id,
        received_ms=answer["at_ms"],
        at_ms=answer["at_ms"],
        source_service=SOURCE,
        leg=key.leg,
        p50_seconds=answer["p50_seconds"],
        p90_seconds=answer["p90_seconds"],
        model_digest=answer["model"]["digest"],
        city_snapshot=answer["positions"]["city_snapshot"],
        model_p50_seconds=of_model.p50_s,
        model_p90_seconds=of_model.p90_s,
    )
