"""The conformal score of an ETA: where the true hand-over was relative to the P50 and P90 of the model. Integers only.

The score is (truth − P50) ÷ spread in thousandths: 0 is the P50 of the model, 1,000 its P90. It scales with the model's
own spread, so answers of short and of long ways have one distribution (Y. Romano, E. Patterson, E. Candès,
"Conformalized Quantile Regression", NeurIPS 2019). Scores are counted in bins, which add up over orders, shards and
hours.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

P50_SCORE: Final = 0
P90_SCORE: Final = 1_000

MIN_SPREAD_MS: Final = 10_000
MIN_SPREAD_PART: Final = 8
"""The spread is at least P50 ÷ 8 and 10 s: a model whose P90 is next to its P50 would make every score extreme."""

EDGES: Final[tuple[int, ...]] = (
    *(-8_000, -4_000, -3_000),
    *range(-2_000, -1_000, 250),
    *range(-1_000, 2_500, 100),
    *range(2_500, 4_500, 250),
    *(4_500, 5_000, 6_000, 8_000, 12_000, 16_000, 24_000, 32_000),
)
"""The bins: each starts at an edge and ends before the next; one more before the first edge, one after the last."""
BINS: Final = len(EDGES) + 1


def spread_ms(p50_ms: int, p90_ms: int) -> int:
    """The unit of the score: P90 − P50 of the model, not below its bounds."""
    return max(p90_ms - p50_ms, p50_ms // MIN_SPREAD_PART, MIN_SPREAD_MS)


def score(p50_ms: int, p90_ms: int, truth_ms: int) -> int:
    """The score of an answer without calibration. ``truth_ms``: from the answer until hand-over.

    A negative truth counts as 0: the order had been handed over before the answer, and that was not known.
    """
    return (max(0, truth_ms) - p50_ms) * 1_000 // spread_ms(p50_ms, p90_ms)


def bin_of(found: int) -> int:
    """The bin of a score, 0 … BINS − 1."""
    return bisect_right(EDGES, found)


def one_in(number: int) -> tuple[int, ...]:
    """The counts of one score in bin ``number``."""
    return (*(0,) * number, 1, *(0,) * (BINS - 1 - number))
