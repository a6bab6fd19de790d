"""The quantiles of an ETA: a module of its own, which models and their calibration both import."""

from __future__ import annotations

from typing import NamedTuple


class EtaQuantiles(NamedTuple):
    """Seconds until hand-over: the median and the 90 % quantile; 0 ≤ p50_s ≤ p90_s, both finite."""

    p50_s: float
    p90_s: float
