"""What is known of a place: where riders really stop, and whether its address is known to be wrong. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot
from typing import Any, Final

from domain.features.completion.rules import FAR_STOP_MM

KNOWN_STOPS: Final = 5
"""From so many stops on a place has a usual offset: fewer may be of one rider's one evening."""

FAR_SHARE: Final = 0.5
"""Of a place whose address is wrong most stops are far. One rider who presses elsewhere makes a few of many."""


def usual_offset(sums: Mapping[str, Any]) -> dict[str, Any]:
    """Mean offset of the stops from the target in metres, and whether it is known.

    ``sums`` has PLACE_SUMS. ``offset_known``: there are KNOWN_STOPS, most of them are farther than FAR_STOP_MM, and so
    is their mean: riders stop at one other place. A case at such a place is the address's fault until shown otherwise.
    """
    stops = sums["stops"] or 0
    if not stops:
        return {
            "offset_north_m": None,
            "offset_east_m": None,
            "offset_m": None,
            "far_share": None,
            "offset_known": False,
        }
    north, east = sums["north_mm"] / stops / 1_000, sums["east_mm"] / stops / 1_000
    far_share = sums["far_stops"] / stops
    distance = hypot(north, east)
    is_known = stops >= KNOWN_STOPS and far_share >= FAR_SHARE and distance * 1_000 > FAR_STOP_MM
    return {
        "offset_north_m": round(north, 3),
        "offset_east_m": round(east, 3),
        "offset_m": round(distance, 3),
        "far_share": round(far_share, 4),
        "offset_known": is_known,
    }
