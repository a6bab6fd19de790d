"""Watches drift: a sample of the answers of today and yesterday, every ten minutes, next to the other audits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date

from domain.features.drift.psi import is_shifted
from domain.features.drift.reference import FeatureReference, InvalidReference
from infrastructure.backends import Backends
from infrastructure.eta_models.model_files import MANIFEST
from infrastructure.eta_models.registry import ModelRegistry
from infrastructure.observability import metrics
from infrastructure.operations.audit_thread import AuditThread
from infrastructure.operations.eta_drift import DAY_MS, MATURE_MS, day_of, drift_of_day, read_answers, references_in
from infrastructure.postgres.eta_drift import ENOUGH_ORDERS, DriftOfDay, PostgresEtaDrift
from infrastructure.settings.settings import Settings
from infrastructure.timestamps import now_ms

log = logging.getLogger("ridelog.drift")

ROUND_INTERVAL_S = 600.0
MAX_SAMPLE = 4_000
"""Answers of one day: about half a second of CPU, and enough for a share to be known to a percent and a half."""

MODEL_CHARS = 12
"""Of a digest, in a label."""

_NOT_KNOWN = float("nan")


class DriftMonitor:
    """Computes the drift of each day until the day is over and its orders too. ``clock``: epoch milliseconds."""

    def __init__(
        self, settings: Settings, interval_s: float = ROUND_INTERVAL_S, clock: Callable[[], int] = now_ms
    ) -> None:
        self._backends = Backends(settings, pool_size=1)
        self._clock = clock
        self._final: date | None = None
        self._references: dict[str, dict[str, FeatureReference]] = {}
        self._shifted: set[tuple[str, str]] = set()
        self._labels: set[tuple[str, ...]] = set()
        self._thread = AuditThread("drift", "the drift of ETAs", self.run_round, interval_s)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._thread.stop()
        self._backends.close()

    def run_round(self) -> list[DriftOfDay]:
        """Compute the days that are not final. Raises PortUnavailable."""
        table, now = PostgresEtaDrift(self._backends.engine), self._clock()
        today_ms = now // DAY_MS * DAY_MS
        found: list[DriftOfDay] = []
        for start_ms in (today_ms - DAY_MS, today_ms):
            day = day_of(start_ms)
            if self._final is not None and day <= self._final:
                continue
            answers = read_answers(table.sample(start_ms, start_ms + DAY_MS, MAX_SAMPLE))
            models = {answer.eta.model_digest for answer in answers}
            references = {model: self._reference(model) for model in models}
            of_day = drift_of_day(day, answers, references, now)
            table.store(of_day)
            found.append(of_day)
            if now >= start_ms + DAY_MS + MATURE_MS:
                self._final = day
        newest = table.newest(ENOUGH_ORDERS)
        if newest is not None:
            self._set_metrics(newest)
        return found

    def _reference(self, model: str) -> dict[str, FeatureReference]:
        """Read once: a model never changes. What was trained without a reference has none."""
        if model not in self._references:
            try:
                found = references_in(ModelRegistry(self._backends.engine).files(model).get(MANIFEST))
            except InvalidReference as error:
                log.error("model %s has no valid reference, so its drift is unknown: %s", model[:MODEL_CHARS], error)
                found = {}
            self._references = dict(list(self._references.items())[-9:]) | {model: found}
        return self._references[model]

    def _set_metrics(self, newest: DriftOfDay) -> None:
        labels: set[tuple[str, ...]] = set()
        for one in newest.drift:
            key = (one.model_digest[:MODEL_CHARS], one.feature)
            labels.add(key)
            metrics.ETA_FEATURE_PSI.labels(*key).set(one.psi if one.orders >= ENOUGH_ORDERS else _NOT_KNOWN)
            is_new = is_shifted(one.psi, one.chance_psi) and one.orders >= ENOUGH_ORDERS
            if is_new and key not in self._shifted:
                log.warning("%s of model %s has shifted: PSI %.2f on %s", one.feature, key[0], one.psi, newest.day)
            (self._shifted.add if is_new else self._shifted.discard)(key)
        for leg in newest.errors:
            of_leg = (leg.model_digest[:MODEL_CHARS], leg.leg, "")
            labels.add(of_leg)
            is_known = leg.orders >= ENOUGH_ORDERS
            _set_errors(
                of_leg, (leg.mae_s, leg.bias_s, leg.p50_held / leg.answers, leg.p90_held / leg.answers), is_known
            )
        # The files of the metrics keep a series for as long as `serve` runs: what is not measured now is not known.
        for gone in self._labels - labels:
            if len(gone) == 2:
                metrics.ETA_FEATURE_PSI.labels(*gone).set(_NOT_KNOWN)
            else:
                _set_errors(gone, (0.0, 0.0, 0.0, 0.0), is_known=False)
        self._labels = labels


def _set_errors(key: tuple[str, ...], values: tuple[float, float, float, float], is_known: bool) -> None:
    mae_s, bias_s, p50_share, p90_share = values if is_known else (_NOT_KNOWN,) * 4
    model, leg, _ = key
    metrics.ETA_MAE.labels(model, leg).set(mae_s)
    metrics.ETA_BIAS.labels(model, leg).set(bias_s)
    metrics.ETA_HELD.labels(model, leg, "0.5").set(p50_share)
    metrics.ETA_HELD.labels(model, leg, "0.9").set(p90_share)
