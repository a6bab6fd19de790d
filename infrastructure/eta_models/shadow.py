"""A model in shadow answers what the serving one answered, after the response; both are on record beside each other.

A shadow costs one more prediction an answer, in a thread of its own, and one row; a full queue drops questions.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from domain.features.eta.baseline import EtaModel
from domain.features.eta.city_view import CityView
from domain.features.eta.estimate import estimate
from domain.features.eta.quantiles import EtaQuantiles
from domain.features.eta.rider_view import RiderView
from domain.features.orders import OrderState
from infrastructure.observability import metrics
from projections.core.ports import PortUnavailable, SinkRejected

log = logging.getLogger("ridelog.models")

WRITE_INTERVAL_S = 1.0
TRIM_INTERVAL_S = 60.0
MAX_WAITING = 5_000
"""Questions that wait for the shadow (invariant 15): with what they hold in common, a few megabytes."""


class ShadowQuestion(NamedTuple):
    """What a live answer was computed from, the model to ask, and ``serving``: the digest of the serving model.

    ``of_model``: the quantiles of the serving model before calibration, which is by its outcomes, not by the shadow's.
    """

    order_id: str
    order: OrderState
    rider: RiderView | None
    city: CityView | None
    at_ms: int
    model: EtaModel
    serving: str
    of_model: EtaQuantiles


class ShadowAnswer(NamedTuple):
    """One answer of both models, in seconds until hand-over, before calibration."""

    order_id: str
    at_ms: int
    leg: str
    serving_digest: str
    serving_p50_s: float
    serving_p90_s: float
    shadow_digest: str
    shadow_p50_s: float
    shadow_p90_s: float
    outside_training: bool


Write = Callable[[Sequence[ShadowAnswer]], None]
"""Raises PortUnavailable, SinkRejected."""


class ShadowAnswers:
    """Called with every live answer while a model is in shadow. No request waits for it, or fails because of it."""

    def __init__(self, write: Write, trim: Callable[[], None] = lambda: None, max_waiting: int = MAX_WAITING) -> None:
        self._write = write
        self._trim = trim
        self._max_waiting = max_waiting
        self._waiting: deque[ShadowQuestion] = deque()
        self._trimmed_at = time.monotonic()
        for outcome in ("recorded", "dropped", "failed"):
            metrics.SHADOW_ETAS.labels(outcome)
        self._stop = threading.Event()
        # A daemon: a server that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="shadow-etas", daemon=True)

    def __call__(self, question: ShadowQuestion) -> None:
        if len(self._waiting) >= self._max_waiting:
            metrics.SHADOW_ETAS.labels("dropped").inc()
            return
        self._waiting.append(question)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Record what waits if the database answers at once, and stop."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def flush(self) -> None:
        """Ask the shadow what waits, and record both answers. What cannot be written is counted and dropped."""
        questions = [self._waiting.popleft() for _ in range(len(self._waiting))]
        answers = [answer for answer in map(self._answer, questions) if answer is not None]
        if not answers:
            return
        try:
            self._write(answers)
            metrics.SHADOW_ETAS.labels("recorded").inc(len(answers))
        except (PortUnavailable, SinkRejected) as error:
            log.info("%s answers of the shadow are not recorded: %s", f"{len(answers):,}", error)
            metrics.SHADOW_ETAS.labels("dropped").inc(len(answers))

    def _answer(self, question: ShadowQuestion) -> ShadowAnswer | None:
        try:
            return shadow_answer(question)
        except Exception:
            # A model in shadow is on trial: no error of it may end the recording of later answers.
            log.exception("the model in shadow gave no answer to %s", question.order_id)
            metrics.SHADOW_ETAS.labels("failed").inc()
            return None

    def _run(self) -> None:
        while not self._stop.wait(WRITE_INTERVAL_S):
            self.flush()
            if time.monotonic() - self._trimmed_at >= TRIM_INTERVAL_S:
                self._trimmed_at = time.monotonic()
                self._trim_or_report()
        self.flush()

    def _trim_or_report(self) -> None:
        try:
            self._trim()
        except (PortUnavailable, SinkRejected) as error:
            log.info("older answers of the shadow are not deleted for now: %s", error)


def shadow_answer(question: ShadowQuestion) -> ShadowAnswer:
    """What the model in shadow would have answered, from the very inputs of the live answer."""
    order_id, order, rider, city, at_ms, model, serving, of_model = question
    found = estimate(order, rider, city, at_ms, model, order_id=order_id)
    return ShadowAnswer(
        order_id,
        at_ms,
        found.features.leg,
        serving,
        of_model.p50_s,
        of_model.p90_s,
        model.digest,
        found.model_p50_seconds,
        found.model_p90_seconds,
        "outside_training" in found.because,
    )
