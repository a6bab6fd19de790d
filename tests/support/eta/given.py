"""Orders, riders and a city for tests of the ETA, around one restaurant and one customer 2 km to the north."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from domain.features.calibration.adjustment import NOT_CALIBRATED, Calibration
from domain.features.eta.city_view import CellOrders
from domain.features.orders import OrderState
from domain.features.pace import EMPTY_PACE, PaceState
from domain.features.speed.window import WindowPing
from domain.riders.leg import Leg

NOW_MS = 1_790_002_800_000
METRES_A_DEGREE = 111_195.0797
RESTAURANT = (52.5, 13.4)
CUSTOMER = (52.5 + 2_000 / METRES_A_DEGREE, 13.4)
PACE_OF_4_MPS = PaceState(None, 500_000, 2_000_000, 0, 0)


def north_of_restaurant(metres: float) -> tuple[float, float]:
    return (RESTAURANT[0] + metres / METRES_A_DEGREE, RESTAURANT[1])


class KnownRider(NamedTuple):
    """A rider's read model, as far as the ETA reads it."""

    window: Sequence[WindowPing] = ()
    pace: PaceState = EMPTY_PACE
    legs: Sequence[Leg] = ()


def rider(
    at_m: float | None, speed_mps: float = 0.0, *, age_s: float = 1.0, accuracy_m: float = 5.0, legs: Sequence[Leg] = ()
) -> KnownRider:
    """A rider ``at_m`` north of the restaurant who rides north; None: without pings."""
    if at_m is None:
        return KnownRider(legs=legs)
    newest_ms = NOW_MS - round(age_s * 1_000)
    window = [
        WindowPing(newest_ms - 2_000 * n, f"{n:032x}", *north_of_restaurant(at_m - 2 * n * speed_mps), accuracy_m, None)
        for n in range(9, -1, -1)
    ]
    return KnownRider(tuple(window), PACE_OF_4_MPS, tuple(legs))


def order(status: str = "assigned", **fields: Any) -> OrderState:
    """An order placed ten minutes ago, whose latest step was a minute ago."""
    state = OrderState(
        version=3,
        position=9,
        status=status,
        rider_id=None if status == "placed" else "anna",
        restaurant=RESTAURANT,
        customer=CUSTOMER,
        time_zone="Europe/Berlin",
        placed_ms=NOW_MS - 600_000,
        latest_step_ms=NOW_MS - 60_000,
        preparation_seconds=900,
        assignments=0 if status == "placed" else 1,
    )
    return state._replace(**fields)


ORDERS_HERE = CellOrders(3, 1_500.0, -60.0)


@dataclass(frozen=True)
class SteadyCity:
    """Every cell and heading has the same pace."""

    pace_s_per_km: float | None = 200.0
    index_everywhere: float | None = 0.8
    as_of_ms: int = NOW_MS - 2_000
    orders: CellOrders = ORDERS_HERE
    calibration: Calibration = NOT_CALIBRATED

    def pace(self, cell: int, octant: int, at_ms: int) -> float | None:
        return self.pace_s_per_km

    def index(self, cell: int, octant: int, at_ms: int) -> float | None:
        return self.index_everywhere

    def fleet_pace(self) -> float | None:
        return self.pace_s_per_km

    def orders_at(self, cell: int) -> CellOrders:
        return self.orders
