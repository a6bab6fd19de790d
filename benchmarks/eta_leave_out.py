"""What the ETA is worth without a feature: changes of a reading that make one feature unknown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from domain.features.eta.features import EtaReading
from domain.features.eta.way import Ride

LeaveOut = Callable[[EtaReading], EtaReading]


def _without(name: str) -> LeaveOut:
    unknown: dict[str, Any] = {name: None}
    return lambda reading: reading._replace(features=reading.features._replace(**unknown))


def _rides(change: Callable[[Ride], Ride]) -> LeaveOut:
    def changed(reading: EtaReading) -> EtaReading:
        rides = (None if ride is None else change(ride) for ride in reading.way[:2])
        to_restaurant, to_customer = rides
        return reading._replace(way=reading.way._replace(to_restaurant=to_restaurant, to_customer=to_customer))

    return changed


_without_cells = _rides(lambda ride: ride._replace(pace_s_per_km=None))


def _without_paces(reading: EtaReading) -> EtaReading:
    reading = _without_cells(reading)
    return reading._replace(way=reading.way._replace(fleet_pace_s_per_km=None))


def _without_place(reading: EtaReading) -> EtaReading:
    """As without a ping of the last two hours: then the leg comes from the order's status alone."""
    features = reading.features
    leg = {"at_restaurant": "to_restaurant", "at_customer": "to_customer"}.get(features.leg, features.leg)
    unknown: dict[str, Any] = {"leg": leg, "rider_to_restaurant_m": None, "rider_to_customer_m": None}
    unknown |= {"rider_speed_mps": None}
    way = reading.way
    way = way._replace(to_restaurant=None) if leg == "to_restaurant" else way._replace(to_customer=None)
    return reading._replace(features=features._replace(**unknown), way=way)


WITHOUT: dict[str, LeaveOut] = {
    "the pace of the cells on the way": _without_cells,
    "the pace of the fleet and of the cells": _without_paces,
    "rider_speed_mps": _without("rider_speed_mps"),
    "rider_pace_s_per_km": _without("rider_pace_s_per_km"),
}
"""What a ride to the customer uses."""

WITHOUT_OF_ORDERS: dict[str, LeaveOut] = WITHOUT | {
    "the location of the rider": _without_place,
    "preparation_left_s": _without("preparation_left_s"),
    "the time since the order was placed": lambda reading: reading._replace(
        way=reading.way._replace(since_placed_s=0.0)
    ),
    "recent_duration_s": _without("recent_duration_s"),
    "the rider's other orders": _rides(lambda ride: ride._replace(stops=0, pick_ups=0)),
}
"""What an order uses from placing to hand-over."""
