"""The population stability index: how far the distribution of a feature has moved from that of the training set. Pure.

PSI = Σ (q − p) · ln(q ÷ p) over bins, p and q the shares of reference and sample; the symmetric Kullback-Leibler
divergence. N. Siddiqi, "Credit Risk Scorecards" (Wiley, 2006), chapter 8: below 0.1 no change, up to 0.25 a small one,
above it a shift. B. Yurdakul, J. Naranjo, "Statistical properties of the population stability index", Journal of Risk
Model Validation 14 (2020): without drift, PSI ÷ (1/n + 1/m) is distributed as χ² with (bins − 1) degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import log, sqrt
from typing import Final

SHIFTED: Final = 0.25
"""From here on a feature is shifted (Siddiqi)."""

CHANGED: Final = 0.1

_HALF_ROW: Final = 0.5
"""Added to each bin (Jeffreys' prior): an empty bin would make the index infinite."""

_Z999: Final = 3.090232306167813
"""The 99.9 % quantile of the standard normal distribution."""


def psi(reference: Sequence[int], counts: Sequence[int]) -> float:
    """The index of two counts in the same bins; 0 if either is empty. Raises ValueError for different bins."""
    if len(reference) != len(counts):
        raise ValueError(f"{len(reference)} bins compared with {len(counts)}")
    if not sum(reference) or not sum(counts):
        return 0.0
    used = [(p + _HALF_ROW, q + _HALF_ROW) for p, q in zip(reference, counts, strict=True) if p or q]
    all_p, all_q = sum(p for p, _ in used), sum(q for _, q in used)
    return sum((q / all_q - p / all_p) * log((q / all_q) / (p / all_p)) for p, q in used)


def effective_size(cluster_sizes: Iterable[int]) -> float:
    """How many independent values tell as much as clusters of these sizes, whose values are equal within a cluster.

    (Σ m)² ÷ Σ m², L. Kish, "Survey Sampling" (Wiley, 1965), 8.2: the number of clusters if all have one size, fewer
    else. The variance of a share is p (1 − p) over this number. Values of one order are less alike than equal, so the
    number is a lower bound. 0 without values.
    """
    sizes = list(cluster_sizes)
    squares = sum(size * size for size in sizes)
    return sum(sizes) ** 2 / squares if squares else 0.0


def chance_limit(
    reference: Sequence[int],
    counts: Sequence[int],
    independent: float | None = None,
    independent_reference: float | None = None,
) -> float:
    """The index that 999 of 1,000 samples without drift stay below.

    ``independent`` and ``independent_reference``: the ``effective_size`` of the sample and of the reference, by default
    all of their rows. Rows of one order are not independent. χ² by E. Wilson and M. Hilferty, "The distribution of
    chi-square", PNAS 17 (1931).
    """
    n = sum(reference) if independent_reference is None else independent_reference
    m = sum(counts) if independent is None else independent
    bins = sum(1 for p, q in zip(reference, counts, strict=True) if p or q)
    if bins < 2 or not n or not m:
        return 0.0
    freedom = bins - 1
    spread = 2.0 / (9.0 * freedom)
    chi2: float = freedom * (1.0 - spread + _Z999 * sqrt(spread)) ** 3
    return chi2 * (1.0 / n + 1.0 / m)


def is_shifted(index: float, limit: float) -> bool:
    """Whether a feature is shifted, and not by chance."""
    return index > max(SHIFTED, limit)
