"""All riders of a simulation. Deterministic: the same day gives the same uploads in the same order."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from infrastructure.simulator.phone import Day, Upload, uploads


def rider_ids(riders: int) -> list[str]:
    """``rider-0001``, ``rider-0002``, …"""
    return [f"rider-{number:04}" for number in range(1, riders + 1)]


def fleet_uploads(riders: int, day: Day) -> Iterator[Upload]:
    """What all phones send, by time of sending; a rider's does not depend on how many others there are."""
    return heapq.merge(*(uploads(rider_id, day) for rider_id in rider_ids(riders)), key=_when)


def _when(upload: Upload) -> tuple[float, str]:
    return upload.send_at_s, upload.rider_id
