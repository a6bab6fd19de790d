"""What the ETA asks of the city: a port, so that the domain does not know where snapshots are stored."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from domain.features.calibration.adjustment import Calibration


class CellOrders(NamedTuple):
    """Orders of restaurants in one cell: open now, and the mean duration and lateness of those of the last hour.

    None if there were none (of lateness: none with a promise). Seconds; negative lateness is early.
    """

    open_orders: int
    recent_duration_s: float | None
    recent_lateness_s: float | None


class CityView(Protocol):
    """One city snapshot. Cells are H3 of resolution 8, octants as in ``traffic.steps``, paces seconds a kilometre."""

    @property
    def as_of_ms(self) -> int:
        """The clock reading of the snapshot's maker, epoch ms."""
        ...

    def pace(self, cell: int, octant: int, at_ms: int) -> float | None:
        """None: nothing is known of the fleet."""
        ...

    def index(self, cell: int, octant: int, at_ms: int) -> float | None:
        """Free-flow pace ÷ pace; None if unknown."""
        ...

    def fleet_pace(self) -> float | None:
        """Of all riders over all time."""
        ...

    def orders_at(self, cell: int) -> CellOrders: ...

    @property
    def calibration(self) -> Calibration:
        """By the outcomes that the snapshot knows."""
        ...
