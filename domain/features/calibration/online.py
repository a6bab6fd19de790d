"""Calibrates answers by the outcomes that were known before: the hours that count, and the same for an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from domain.features.calibration.adjustment import NOT_CALIBRATED, Calibration, Cell
from domain.features.calibration.recurrence import HourCounts, calibrate
from domain.features.calibration.scores import BINS, bin_of, score
from domain.features.eta.quantiles import EtaQuantiles

HOUR_MS: Final = 3_600_000
WINDOW_HOURS: Final = 28 * 24
"""Four whole weeks: each hour of the week counts equally often."""


def closed_hours(at_ms: int) -> range:
    """The hours that count at ``at_ms``: the last WINDOW_HOURS whole ones, in hours since the epoch."""
    hour = at_ms // HOUR_MS
    return range(hour - WINDOW_HOURS, hour)


def calibration_at(hours: Mapping[int, HourCounts], at_ms: int) -> Calibration:
    """The calibration at ``at_ms`` of counts by hour since the epoch."""
    return calibrate(hours[hour] for hour in closed_hours(at_ms) if hour in hours)


class OnlineCalibration:
    """Calibrates a test set in the order in which its outcomes became known, as serving does.

    Give it every outcome that was known before an answer, then ask for the calibration of the answer. ``at_ms`` never
    goes back. The hour of an outcome is that in which it became known.
    """

    def __init__(self) -> None:
        self._hours: dict[int, dict[Cell, list[int]]] = {}
        self._calibration = NOT_CALIBRATED
        self._asked_hour: int | None = None

    def add(self, cell: Cell, model: EtaQuantiles, truth_s: float, known_ms: int) -> None:
        """Count an outcome. ``model``: the quantiles without calibration; ``truth_s``: from the answer to hand-over.

        Raises ValueError for an outcome of an hour that has been asked for as closed.
        """
        hour = known_ms // HOUR_MS
        if self._asked_hour is not None and hour < self._asked_hour:
            raise ValueError(f"an outcome of hour {hour}, and hour {self._asked_hour} has been calibrated before it")
        p50_ms, p90_ms, truth_ms = (round(1_000 * seconds) for seconds in (*model, truth_s))
        bins = self._hours.setdefault(hour, {}).setdefault(cell, [0] * BINS)
        bins[bin_of(score(p50_ms, p90_ms, truth_ms))] += 1

    def at(self, at_ms: int) -> Calibration:
        """The calibration that an answer at ``at_ms`` gets. Computed once an hour."""
        hour = at_ms // HOUR_MS
        if hour != self._asked_hour:
            self._asked_hour = hour
            for old in [one for one in self._hours if one not in closed_hours(at_ms) and one < hour]:
                del self._hours[old]
            self._calibration = calibration_at(self._hours, at_ms)
        return self._calibration
