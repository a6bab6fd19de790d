"""The error of an ETA in seconds, and what it is compared with: a straight line, and a table of other days."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.eta_walk import Sample
from domain.features.eta.baseline import Baseline
from domain.features.eta.quantiles import EtaQuantiles

CONSTANT_MPS = 4.77
"""The straight-line speed that the data's own description gives."""

TABLE_BANDS_M = (
    250,
    500,
    750,
    1_000,
    1_500,
    2_000,
    2_500,
    3_000,
    4_000,
    5_000,
    6_000,
    8_000,
    10_000,
    13_000,
    16_000,
    20_000,
)
TABLE_MIN_SAMPLES = 20
"""A cell of the table with fewer samples is that of its band over all hours."""

LOCAL_MS = -7 * 3_600_000
"""Pacific daylight time, in which the days of the table are counted."""


class Errors(NamedTuple):
    """Seconds, estimate − truth; shares of 1."""

    samples: int
    mae: float
    median: float
    p90: float
    bias: float
    within_2_min: float
    within_5_min: float


def errors(estimates: Sequence[float], samples: Sequence[Sample]) -> Errors:
    signed = [estimate - sample.true_s for estimate, sample in zip(estimates, samples, strict=True)]
    sizes = sorted(abs(error) for error in signed)
    count = len(sizes)
    if not count:
        return Errors(0, *[float("nan")] * 6)
    return Errors(
        count,
        sum(sizes) / count,
        sizes[count // 2],
        sizes[min(count - 1, int(count * 0.9))],
        sum(signed) / count,
        bisect_right(sizes, 120.0) / count,
        bisect_right(sizes, 300.0) / count,
    )


def straight_line(samples: Sequence[Sample]) -> list[float]:
    return [metres_left(sample) / CONSTANT_MPS for sample in samples]


def table(samples: Sequence[Sample]) -> list[float]:
    """The median by distance band and hour of all other days; of the band if that has few samples."""
    by_cell: defaultdict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    by_band: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    for sample in samples:
        band, hour, day = band_hour_day(sample)
        by_cell[band, hour].append((day, sample.true_s))
        by_band[band].append((day, sample.true_s))
    learned: dict[tuple[int, int, int], float] = {}
    found = []
    for sample in samples:
        band, hour, day = place = band_hour_day(sample)
        if place not in learned:
            others = [true_s for on, true_s in by_cell[band, hour] if on != day]
            if len(others) < TABLE_MIN_SAMPLES:
                others = [true_s for on, true_s in by_band[band] if on != day]
            learned[place] = median(others) if others else metres_left(sample) / CONSTANT_MPS
        found.append(learned[place])
    return found


def band_hour_day(sample: Sample) -> tuple[int, int, int]:
    """Distance band, local hour, local day."""
    local_ms = sample.t_ms + LOCAL_MS
    return bisect_right(TABLE_BANDS_M, metres_left(sample)), local_ms // 3_600_000 % 24, local_ms // 86_400_000


def metres_left(sample: Sample) -> float:
    return sample.reading.features.rider_to_customer_m or 0.0


def predicted(model: Baseline, samples: Sequence[Sample]) -> list[EtaQuantiles]:
    return [model.predict(sample.reading.features, sample.reading.way) for sample in samples]
