"""Adjusts the quantiles of a model by the scores at which they would have had the coverage that they promise. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from domain.features.calibration.scores import MIN_SPREAD_MS, MIN_SPREAD_PART, P50_SCORE, P90_SCORE
from domain.features.eta.quantiles import EtaQuantiles

ALL: Final = ""
"""The leg, or the city, of a cell that holds those of every leg, or of every city and of orders without one."""

Cell = tuple[str, str]
"""Leg and city. (leg, ALL) holds every city of the leg, and (ALL, ALL) everything."""


class Thresholds(NamedTuple):
    """The scores (``scores.score``) that half and 90 % of the truths do not exceed, in thousandths."""

    p50: int = P50_SCORE
    p90: int = P90_SCORE


IDENTITY = Thresholds()


def parent_of(cell: Cell) -> Cell | None:
    """The next coarser cell; None for the coarsest."""
    leg, city = cell
    if city != ALL:
        return leg, ALL
    return (ALL, ALL) if leg != ALL else None


class Calibration:
    """The thresholds by cell. A cell without outcomes of its own has those of the next coarser one."""

    def __init__(self, thresholds: Mapping[Cell, Thresholds]) -> None:
        self.thresholds = dict(thresholds)

    @classmethod
    def of_rows(cls, rows: Iterable[tuple[str, str, int, int]]) -> Calibration:
        """From (leg, city, P50, P90) as ``rows`` returns them."""
        return cls({(leg, city): Thresholds(p50, p90) for leg, city, p50, p90 in rows})

    def rows(self) -> list[tuple[str, str, int, int]]:
        """Leg, city and the two thresholds of each cell, sorted."""
        return sorted((leg, city, *found) for (leg, city), found in self.thresholds.items())

    def of(self, leg: str, city: str) -> Thresholds:
        """The thresholds of the finest cell that has any."""
        cell: Cell | None = (leg, city)
        while cell is not None:
            found = self.thresholds.get(cell)
            if found is not None:
                return found
            cell = parent_of(cell)
        return IDENTITY

    def adjust(self, leg: str, city: str, quantiles: EtaQuantiles) -> EtaQuantiles:
        """The calibrated quantiles; 0 ≤ P50 ≤ P90 stays. Higher thresholds never give a lower quantile."""
        found = self.of(leg, city)
        if found == IDENTITY:
            return quantiles
        p50_s, p90_s = quantiles
        spread_s = max(p90_s - p50_s, p50_s / MIN_SPREAD_PART, MIN_SPREAD_MS / 1_000.0)
        adjusted_s = max(0.0, p50_s + found.p50 * spread_s / 1_000.0)
        return EtaQuantiles(adjusted_s, max(adjusted_s, p50_s + found.p90 * spread_s / 1_000.0))


NOT_CALIBRATED = Calibration({})
"""Changes nothing: no outcome is known yet."""
