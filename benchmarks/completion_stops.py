"""Real stops of delivery drivers, each as a leg: how many the fold finds by the pings, without accuracy and speed.

A stop is a piece of the track that is labelled OnFoot and lasts at least the 37 s that 90 % of real stays last. Its leg
begins when the driver drives off before it. The data does not say where the address was: it is taken as the middle
of the walk, and then moved by the distances within which 50 % and 90 % of real drop-offs are.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from benchmarks.completion_truth import START_MS
from domain.features.completion.fold import EMPTY, fold
from domain.features.completion.result import LegResult
from domain.features.keyed_event import KeyedEvent
from domain.features.legs import TO_CUSTOMER

FILE = "amazon_goal_delivery_xy.csv.gz"
LATITUDE, LONGITUDE = 47.6, -122.3
METRES_A_DEGREE = 111_195.0797
SHORTEST_S = 37.0
OFFSETS_M = (0, 38, 103)


class Point(NamedTuple):
    """Seconds and metres about the hidden origin."""

    t_s: float
    x_m: float
    y_m: float
    on_foot: bool


class RealStop(NamedTuple):
    """The points from driving off before the stop to its end, and the walk among them."""

    points: list[Point]
    begins_s: float
    ends_s: float
    middle: tuple[float, float]


def read_stops(folder: Path) -> list[RealStop]:
    """All stops that begin within a track."""
    tracks: defaultdict[str, list[Point]] = defaultdict(list)
    with gzip.open(folder / FILE, "rt", newline="") as file:
        for row in csv.DictReader(file):
            point = Point(float(row["t_seconds"]), float(row["x_m"]), float(row["y_m"]), row["activity"] == "OnFoot")
            tracks[row["track_id"]].append(point)
    return [stop for track in tracks.values() for stop in _stops(sorted(track))]


def _stops(track: list[Point]) -> Iterator[RealStop]:
    drives_from, index = 0, 0
    while index < len(track):
        if not track[index].on_foot:
            index += 1
            continue
        end = index
        while end < len(track) and track[end].on_foot:
            end += 1
        walk = track[index:end]
        # The point after the walk shows that it has ended; at the end of the piece its length is unknown.
        if index > drives_from and walk[-1].t_s - walk[0].t_s >= SHORTEST_S:
            middle = median(p.x_m for p in walk), median(p.y_m for p in walk)
            yield RealStop(track[drives_from:end], walk[0].t_s, walk[-1].t_s, middle)
        drives_from = index = end


def found_share(stops: list[RealStop], offset_m: float) -> float:
    """The share of the stops at which the fold sees an arrival by pings, with the address moved by ``offset_m``."""
    chance = Random(1)
    return sum(_is_found(stop, offset_m, chance.uniform(0.0, 2.0 * math.pi)) for stop in stops) / len(stops)


def _is_found(stop: RealStop, offset_m: float, direction: float) -> bool:
    x, y = stop.middle[0] + offset_m * math.sin(direction), stop.middle[1] + offset_m * math.cos(direction)
    result = _folded(stop, _degrees(x, y))
    arrived = result.arrived_ms
    return arrived is not None and _ms(stop.begins_s) - 30_000 <= arrived <= _ms(stop.ends_s)


def _folded(stop: RealStop, target: tuple[float, float]) -> LegResult:
    first = stop.points[0]
    start: dict[str, Any] = {
        "order_id": "order",
        "leg": TO_CUSTOMER,
        "target_latitude": target[0],
        "target_longitude": target[1],
        "event_timestamp_ms": _ms(first.t_s),
    }
    state = fold(EMPTY, KeyedEvent("driver", 1, 1, "LegStarted", start))
    (result,) = state.results
    for number, point in enumerate(stop.points, start=2):
        latitude, longitude = _degrees(point.x_m, point.y_m)
        data = {
            "latitude": latitude,
            "longitude": longitude,
            "event_timestamp_ms": _ms(point.t_s),
            "received_timestamp_ms": _ms(point.t_s),
            "accuracy_meters": None,
            "speed_mps": None,
            "event_id": str(uuid5(NAMESPACE_URL, f"{point}")),
        }
        state = fold(state, KeyedEvent("driver", number, number, "GpsPing", data))
        result = state.results[-1] if state.results else result
    return result


def _ms(t_s: float) -> int:
    return START_MS + round(t_s * 1_000)


def _degrees(x_m: float, y_m: float) -> tuple[float, float]:
    scale = METRES_A_DEGREE * math.cos(math.radians(LATITUDE))
    return LATITUDE + y_m / METRES_A_DEGREE, LONGITUDE + x_m / scale
