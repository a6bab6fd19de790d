"""Riders with full windows, sent through the HTTP API."""

from __future__ import annotations

import time

from benchmarks.folded import wait_folded
from domain.features.speed.window import WINDOW_PINGS
from projections.speed import SPEED
from tests.support.worlds.ridelog import Ridelog

BATCH = 2_000


def rider(number: int) -> str:
    return f"rider-{number}"


def fill(one: Ridelog, riders: int) -> None:
    """Post a full window of pings for each rider, who goes north at 5 m/s with GPS noise; wait until all are folded."""
    start_ms = time.time_ns() // 1_000_000 - WINDOW_PINGS * 1_000
    for turn in range(WINDOW_PINGS):
        for first in range(0, riders, BATCH):
            pings = [
                {
                    "rider_id": rider(n),
                    "latitude": 52.5 + turn * 4.5e-5 + (n * 7919 + turn * 104729) % 100 * 1e-7,
                    "longitude": 13.4 + (n * 104729 + turn * 7919) % 100 * 1e-7,
                    "event_timestamp_ms": start_ms + turn * 1_000,
                    "accuracy_meters": 5,
                }
                for n in range(first, min(first + BATCH, riders))
            ]
            answer = one.post(pings)
            assert answer["accepted"] == len(pings), answer
    wait_folded(one.info, SPEED, riders * WINDOW_PINGS, within_s=300)
