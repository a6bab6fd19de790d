"""The reference for replays: plain Python over the raw events, without any of ridelog's code.

An event is a dict: rider_id, event_type, recorded_ms, event_timestamp_ms, and for a ping event_id, latitude, longitude,
accuracy_meters, speed_mps, received_timestamp_ms (0 or absent: unknown). ``unreadable``: its bytes cannot be decoded.
The index in the list is the place in the log.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

Raw = Mapping[str, Any]
RADIUS_MM = 6_371_008_800.0
KEPT = 10


class AskedInstant(NamedTuple):
    """``axis``: known, event or position; ``position`` None: the whole log."""

    axis: str
    at_ms: int | None
    position: int | None


class Counting(NamedTuple):
    """An event that counts, with its position in the log and its version in the rider's stream, from 1."""

    position: int
    version: int
    raw: Raw


class Window(NamedTuple):
    """``kept``: (effective time, event id without dashes, latitude, longitude, accuracy, speed, sent - effective),
    in order."""

    version: int
    position: int
    pings: int
    too_late: int
    kept: list[tuple[Any, ...]]


def at_ms(log: Sequence[Raw], asked: AskedInstant) -> int:
    """The instant to which ages are relative."""
    if asked.at_ms is not None:
        return asked.at_ms
    assert asked.position is not None
    return int(log[asked.position - 1]["recorded_ms"]) if asked.position else 0


def effective_ms(raw: Raw) -> int:
    """Invariant 6: an event time more than 2 s after its reception counts as the reception time."""
    sent, received = raw["event_timestamp_ms"], raw.get("received_timestamp_ms", 0)
    if raw.get("unreadable") or not received or sent <= received + 2_000:
        return int(sent)
    return int(received)


def counts(raw: Raw, position: int, asked: AskedInstant) -> bool:
    """Whether an event is within the requested range, including both ends."""
    if asked.position is not None and position > asked.position:
        return False
    if asked.axis == "known":
        return bool(raw["recorded_ms"] <= asked.at_ms)
    return asked.axis == "position" or (asked.at_ms is not None and effective_ms(raw) <= asked.at_ms)


def counting(log: Sequence[Raw], rider: str, asked: AskedInstant) -> list[Counting]:
    """The rider's events that count, in the order of the log."""
    found, version = [], 0
    for position, raw in enumerate(log, start=1):
        if raw["rider_id"] != rider:
            continue
        version += 1
        if counts(raw, position, asked):
            found.append(Counting(position, version, raw))
    return found


def window(events: Sequence[Counting]) -> Window:
    """The ten latest distinct pings, and the number of pings that arrived when ten later ones were known."""
    seen: dict[tuple[int, int, str], Raw] = {}
    pings = too_late = 0
    for _, _, raw in events:
        if raw["event_type"] != "GpsPing":
            continue
        pings += 1
        identity = (effective_ms(raw), raw["event_timestamp_ms"], raw["event_id"].replace("-", ""))
        latest = sorted(seen)[-KEPT:]
        too_late += len(latest) == KEPT and identity < latest[0]
        seen.setdefault(identity, raw)
    names = ("latitude", "longitude", "accuracy_meters", "speed_mps")
    kept = [
        (at, event_id, *(seen[at, sent, event_id][name] for name in names), sent - at)
        for at, sent, event_id in sorted(seen)[-KEPT:]
    ]
    return Window(events[-1].version, events[-1].position, pings, too_late, kept)


def speed_row(
    rider: str, found: Window, now_ms: int, *, target_ms: int, ttl_ms: int, allow_expired: bool
) -> dict[str, Any]:
    """The row of the speed read model without the robust speed."""
    kept = found.kept
    age = max(0, now_ms - kept[-1][0]) if kept else None
    expired = age is None or age > ttl_ms
    shown = bool(kept) and (allow_expired or not expired)
    span = kept[-1][0] - kept[0][0] if kept else 0
    path = sum(_step_mm(a[2], a[3], b[2], b[3]) for a, b in pairwise(kept))
    fresh = "stale" if age is not None and age > 2 * target_ms else "fresh"
    return {
        "rider_id": rider,
        "path_speed_mps": path / span if shown and span else None,
        "pings_in_window": len(kept) if shown or not kept else None,
        "window_ms": span if shown else None,
        "latitude": kept[-1][2] if shown else None,
        "longitude": kept[-1][3] if shown else None,
        "event_timestamp_ms": kept[-1][0] if kept else None,
        "version": found.version,
        "position": found.position,
        "age_ms": age,
        "status": "expired" if expired else fresh,
    }


def _step_mm(latitude: float, longitude: float, to_latitude: float, to_longitude: float) -> int:
    """Haversine in whole millimetres, half to even."""
    a, b = math.radians(latitude), math.radians(to_latitude)
    turn = math.radians(to_longitude - longitude)
    h = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(turn / 2) ** 2
    return round(2 * RADIUS_MM * math.asin(min(1.0, math.sqrt(h))))
