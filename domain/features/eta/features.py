"""The features of an ETA: a pure function of an order, its rider, the city and one clock reading.

docs/eta.md has the definition of each feature. A feature that is unknown is None, never a guess.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from domain.features.eta.city_view import CityView
from domain.features.eta.facts import OrderFacts, order_facts
from domain.features.eta.local_time import local_time
from domain.features.eta.rider_view import RiderView
from domain.features.eta.way import Place, Stop, Way, metres, octant_between, ride_along, visits
from domain.features.legs import TO_RESTAURANT
from domain.features.orders import ARRIVED, OPEN_STATUSES, PICKED_UP, PLACED, OrderState
from domain.features.pace import pace_s_per_km
from domain.features.speed.estimate import robust_speed_mps
from domain.features.speed.window import WindowPing
from domain.features.traffic.steps import cell_at

LegName = Literal["unassigned", "to_restaurant", "at_restaurant", "to_customer", "at_customer"]
Because = Literal[
    "unassigned",
    "rider_silent",
    "speed_unknown",
    "traffic_unknown",
    "city_stale",
    "preparation_unknown",
    "reassigned",
    "stacked",
    "model_unavailable",
    "outside_training",
]
"""The closed list of reasons why an ETA may change more than its P90 says."""

SILENT_MS: Final = 30_000
"""From here the speed of a rider is served as stale (twice the default of ``RIDELOG_TARGET_FRESHNESS_MS``). A constant,
since a setting would make the same answer differ between processes."""

EXPIRED_MS: Final = 7_200_000
"""A location and a speed that are older are unknown (the default of ``RIDELOG_FEATURE_TTL_MS``)."""

CITY_STALE_MS: Final = 60_000
"""A city snapshot is made every ten seconds or oftener: an older one means that its process does not run."""

ARRIVAL_RADIUS_M: Final = 40.0
ARRIVAL_ACCURACY_FACTOR: Final = 1.5
ARRIVAL_MAX_SPEED_MPS: Final = 1.5


class OrderIsOver(ValueError):
    """A completed or cancelled order, or one that was never placed, has no ETA."""


class EtaFeatures(NamedTuple):
    """The feature vector, under the names of the answer, and ``because``. Units: metres, seconds, hours, m/s, s/km."""

    leg: LegName
    rider_to_restaurant_m: float | None
    restaurant_to_customer_m: float
    rider_to_customer_m: float | None
    traffic_index: float | None
    local_time_of_day_h: float | None
    local_day_of_week: int | None
    rider_speed_mps: float | None
    rider_pace_s_per_km: float | None
    preparation_left_s: float | None
    elapsed_in_leg_s: float
    orders_of_rider: int | None
    open_orders_here: int | None
    recent_duration_s: float | None
    recent_lateness_s: float | None
    because: tuple[Because, ...]


class EtaReading(NamedTuple):
    """What one answer needs: features, the way that is left, the age of the rider's latest ping (None: none), facts."""

    features: EtaFeatures
    way: Way
    age_ms: int | None
    facts: OrderFacts


def eta_features(
    order: OrderState, rider: RiderView | None, city: CityView | None, now_ms: int, *, order_id: str
) -> EtaFeatures:
    """The features at ``now_ms``. Raises OrderIsOver."""
    return eta_reading(order, rider, city, now_ms, order_id=order_id).features


def eta_reading(
    order: OrderState, rider: RiderView | None, city: CityView | None, now_ms: int, *, order_id: str
) -> EtaReading:
    """Features, way and age at ``now_ms``, the one clock reading of the request. Raises OrderIsOver; pure.

    ``rider`` is the read model of the order's rider, None without one. ``order_id`` finds the order's own leg among
    those of the rider. The rider's other legs are stops on the way.
    """
    if order.status not in OPEN_STATUSES:
        raise OrderIsOver(f"the order is {order.status or 'not placed'}")
    assigned = order.status != PLACED
    picked_up = order.status in {PICKED_UP, ARRIVED}
    latest = rider.window[-1] if assigned and rider is not None and rider.window else None
    age_ms = None if latest is None else max(0, now_ms - latest.t_ms)
    silent = age_ms is None or age_ms > SILENT_MS
    here: Place | None = None
    if latest is not None and age_ms is not None and age_ms <= EXPIRED_MS:
        here = (latest.latitude, latest.longitude)
    speed = None if here is None or rider is None else robust_speed_mps(rider.window)
    target = order.customer if picked_up else order.restaurant
    others = _other_stops(order_id, rider) if assigned and rider is not None else []
    orders_of_rider = 1 + len({stop.order_id for stop in others}) if assigned and rider is not None else None
    leg: LegName = "unassigned"
    if assigned:
        at_target = order.status == ARRIVED or _is_at(here, target, latest, speed)
        if picked_up:
            leg = "at_customer" if at_target else "to_customer"
        else:
            leg = "at_restaurant" if at_target else "to_restaurant"
    start = order.restaurant if here is None else here
    heading_to = order.customer if picked_up or here is None else target
    index = None if city is None else city.index(cell_at(*start), octant_between(start, heading_to), now_ms)
    preparation_left = _preparation_left_s(order, picked_up, now_ms)
    local = local_time(order.time_zone, now_ms)
    orders_here = None if city is None else city.orders_at(cell_at(*order.restaurant))
    conditions: tuple[tuple[Because, bool], ...] = (
        ("unassigned", not assigned),
        ("rider_silent", assigned and silent),
        ("speed_unknown", assigned and speed is None),
        ("traffic_unknown", index is None),
        ("city_stale", city is None or now_ms - city.as_of_ms > CITY_STALE_MS),
        ("preparation_unknown", preparation_left is None),
        ("reassigned", order.assignments > 1),
        ("stacked", orders_of_rider is not None and orders_of_rider > 1),
    )
    features = EtaFeatures(
        leg,
        None if here is None or picked_up else metres(here, order.restaurant),
        metres(order.restaurant, order.customer),
        None if here is None else metres(here, order.customer),
        None if index is None else round(index, 4),
        local.time_of_day_h,
        local.day_of_week,
        speed,
        None if not assigned or rider is None else pace_s_per_km(rider.pace),
        preparation_left,
        max(0, now_ms - order.latest_step_ms) / 1_000.0,
        orders_of_rider,
        None if orders_here is None else orders_here.open_orders,
        None if orders_here is None else orders_here.recent_duration_s,
        None if orders_here is None else orders_here.recent_lateness_s,
        tuple(code for code, applies in conditions if applies),
    )
    way = _way(order_id, order, here, others, city, now_ms)
    return EtaReading(features, way, age_ms, order_facts(order, now_ms))


def _other_stops(order_id: str, rider: RiderView) -> list[Stop]:
    others = (leg for leg in rider.legs if leg.order_id != order_id)
    return [Stop(leg.order_id, (leg.target_latitude, leg.target_longitude), leg.leg == TO_RESTAURANT) for leg in others]


def _is_at(here: Place | None, target: Place, latest: WindowPing | None, speed: float | None) -> bool:
    if here is None or latest is None:
        return False
    radius = max(ARRIVAL_RADIUS_M, ARRIVAL_ACCURACY_FACTOR * (latest.accuracy_m or 0.0))
    return metres(here, target) <= radius and (speed is None or speed <= ARRIVAL_MAX_SPEED_MPS)


def _preparation_left_s(order: OrderState, picked_up: bool, now_ms: int) -> float | None:
    """0 once picked up: then it is over, however long it was expected to take."""
    if picked_up:
        return 0.0
    if order.preparation_seconds is None:
        return None
    return max(0, order.placed_ms + 1_000 * order.preparation_seconds - now_ms) / 1_000.0


def _way(
    order_id: str,
    order: OrderState,
    here: Place | None,
    others: list[Stop],
    city: CityView | None,
    now_ms: int,
) -> Way:
    fleet = None if city is None else city.fleet_pace()
    since_placed_s = max(0, now_ms - order.placed_ms) / 1_000.0
    if order.status in {PICKED_UP, ARRIVED}:
        if here is None:
            return Way(None, None, fleet, since_placed_s)
        path, _ = visits(here, order_id, order.customer, others)
        return Way(None, ride_along(path, city, now_ms), fleet, since_placed_s)
    to_restaurant = None
    if here is not None and order.status != PLACED:
        path, others = visits(here, order_id, order.restaurant, others)
        to_restaurant = ride_along(path, city, now_ms)
    path, _ = visits(order.restaurant, order_id, order.customer, others)
    return Way(to_restaurant, ride_along(path, city, now_ms), fleet, since_placed_s)
