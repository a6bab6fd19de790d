"""Real GPS tracks and their expected speed windows: plain Python over the CSV, without any of ridelog's code."""

from __future__ import annotations

import csv
import gzip
import hashlib
import math
import os
import struct
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

NAMESPACE = uuid.UUID("8a1fb4e4-6f0d-5f0e-9a53-3d1c2d1f7b10")
RADIUS_MM = 6_371_008_800.0


class Fix(NamedTuple):
    """One row with a position."""

    device: str
    t_ms: int
    latitude: float
    longitude: float


class Window(NamedTuple):
    """The values that the contract defines for a device's ten latest fixes."""

    pings_in_window: int
    window_ms: int
    path_speed_mps: float | None


def folder() -> Path:
    """The folder of the tracks; skips the test if there is none."""
    given = os.environ.get("RIDELOG_GPS_DATA")
    if not given:
        pytest.skip("RIDELOG_GPS_DATA does not name the folder of real GPS tracks")
    return Path(given)


def rows(file: Path) -> Iterator[dict[str, str]]:
    with gzip.open(file, "rt", newline="") as text:
        yield from csv.DictReader(text)


def first_third(file: Path, into: Path) -> Path:
    """Write a file in ``into`` with the first third of each device's rows, unchanged."""
    count = Counter(row["device_id"] for row in rows(file))
    done: Counter[str] = Counter()
    part = into / file.name
    with gzip.open(part, "wt", newline="") as out:
        writer = csv.DictWriter(out, next(rows(file)))
        writer.writeheader()
        for row in rows(file):
            done[row["device_id"]] += 1
            if done[row["device_id"]] * 3 <= count[row["device_id"]]:
                writer.writerow(row)
    return part


def fixes(file: Path) -> Iterator[Fix]:
    """The rows that a server can accept: those with a readable position."""
    for row in rows(file):
        try:
            latitude, longitude = float(row["latitude"]), float(row["longitude"])
        except ValueError:
            continue
        yield Fix(row["device_id"], int(float(row["event_timestamp_ms"])), latitude, longitude)


def event_id(fix: Fix) -> str:
    """UUIDv5 over rider id, 0x00, time and both coordinates as big-endian doubles."""
    name = fix.device.encode() + b"\0" + struct.pack(">qdd", fix.t_ms, fix.latitude, fix.longitude)
    return str(uuid.UUID(bytes=hashlib.sha1(NAMESPACE.bytes + name).digest()[:16], version=5))


def windows(found: Iterable[Fix]) -> dict[str, Window]:
    """Each device's window: the ten latest distinct fixes by (time, event id)."""
    by_device: dict[str, set[tuple[int, str, float, float]]] = defaultdict(set)
    for fix in found:
        by_device[fix.device].add((fix.t_ms, event_id(fix), fix.latitude, fix.longitude))
    return {device: _window(sorted(kept)[-10:]) for device, kept in by_device.items()}


def _window(kept: list[tuple[int, str, float, float]]) -> Window:
    span = kept[-1][0] - kept[0][0]
    total = sum(_step_mm(a[2:], b[2:]) for a, b in pairwise(kept))
    return Window(len(kept), span, total / span if len(kept) > 1 and span else None)


def _step_mm(a: Any, b: Any) -> int:
    la, lb = math.radians(a[0]), math.radians(b[0])
    turn = math.radians(b[1] - a[1])
    h = math.sin((lb - la) / 2) ** 2 + math.cos(la) * math.cos(lb) * math.sin(turn / 2) ** 2
    return round(2 * RADIUS_MM * math.asin(math.sqrt(h)))
