"""Places of riders, as a map gets them, from the states of the projection locations."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from read_models.locations.state import UnreadableLocationState, decode_place

log = logging.getLogger("ridelog.live")


class RiderPlace(msgspec.Struct, frozen=True, gc=False):
    """Where a rider was last, by event time; ``position``: of the last event that the read model has folded."""

    rider_id: str
    latitude: float
    longitude: float
    event_timestamp_ms: int
    position: int


class ReadPlaces(NamedTuple):
    """``places``: those that are newer than what was known. ``folded``: the position of each rider that was read."""

    places: list[RiderPlace]
    folded: dict[str, int]


def newer_places(states: Mapping[str, bytes], known: Mapping[str, RiderPlace]) -> ReadPlaces:
    """Decode the states, in one pass. A state that cannot be read is logged and left out."""
    found = ReadPlaces([], {})
    places, folded = found
    for rider_id, data in states.items():
        try:
            place = decode_place(data)
        except UnreadableLocationState as error:
            # Invariant 16: one bad state takes no other rider off the map.
            log.warning("the location of a rider cannot be read: %s", error)
            continue
        if place is None:
            continue
        position, t_ms, latitude, longitude = place
        folded[rider_id] = position
        before = known.get(rider_id)
        if before is None or position > before.position:
            places.append(RiderPlace(rider_id, latitude, longitude, t_ms, position))
    return found
