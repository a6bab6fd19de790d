"""What the ETA reads of a rider: a port, which the rider's read model satisfies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from domain.features.pace import PaceState
from domain.features.speed.window import WindowPing


class OpenLegView(Protocol):
    """One open leg: its order, ``to_restaurant`` or ``to_customer``, and the target in WGS84 degrees."""

    @property
    def order_id(self) -> str: ...
    @property
    def leg(self) -> str: ...
    @property
    def target_latitude(self) -> float: ...
    @property
    def target_longitude(self) -> float: ...


class RiderView(Protocol):
    """The latest pings in order, the moving pace, and the open legs in the order in which they were started."""

    @property
    def window(self) -> Sequence[WindowPing]: ...
    @property
    def pace(self) -> PaceState: ...
    @property
    def legs(self) -> Sequence[OpenLegView]: ...
