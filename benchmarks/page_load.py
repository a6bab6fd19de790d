"""The load of the benchmark of the page: riders that ride on, the day of one rider, and instants of it."""

from __future__ import annotations

import math
import random
import time
from typing import Any, Final

import uvloop

from benchmarks.open_loop import Pool, paced
from benchmarks.ping_load import CONNECTIONS, GIVE_UP_S, post
from infrastructure.process_pool import tune_gc

BATCH_PINGS: Final = 100
STEP_MPS: Final = 8.0
BLOCK_M: Final = 600.0
"""A rider goes so far north, then as far south: it stays in the city however long the benchmark runs."""
METRES_A_DEGREE: Final = 111_195.0
DAY_RIDER: Final = "all-day"
DAY_PINGS: Final = 17_280
DAY_INTERVAL_MS: Final = 5_000
HOUR_MS: Final = 3_600_000
PIXEL_MS: Final = 96_000
"""Of a slider of 24 hours that is 900 pixels wide."""


def rider_id(number: int) -> str:
    """The id of a rider of the load."""
    return f"rider-{number}"


def place_of(number: int, at_s: float) -> tuple[float, float]:
    """Latitude and longitude of a rider at a time: on its own street of a grid, to and fro."""
    row, column = divmod(number, 40)
    way = (at_s * STEP_MPS + number * 37.0) % (2 * BLOCK_M)
    north_m = way if way < BLOCK_M else 2 * BLOCK_M - way
    return 41.36 + row * 0.0022 + north_m / METRES_A_DEGREE, 2.12 + column * 0.0021


def moving_ping(number: int) -> dict[str, Any]:
    """A ping of a rider of the load as of now."""
    at_s = time.time()
    latitude, longitude = place_of(number, at_s)
    return {
        "rider_id": rider_id(number),
        "latitude": latitude,
        "longitude": longitude,
        "event_timestamp_ms": int(at_s * 1000),
        "accuracy_meters": 5.0,
        "speed_mps": STEP_MPS,
    }


def ride(url: str, riders: int, rate: int, seconds: float) -> int:
    """Send ``rate`` pings a second of ``riders`` riders in turn, as an open loop. Returns how many were sent."""
    tune_gc()
    return uvloop.run(_ride(url, riders, rate, seconds))


async def _ride(url: str, riders: int, rate: int, seconds: float) -> int:
    pool = Pool(url, CONNECTIONS)
    await pool.open()
    sent = 0

    def turn(number: int, _due: float) -> None:
        nonlocal sent
        first = number * BATCH_PINGS
        sent += BATCH_PINGS
        pool.request(post(pool, [moving_ping(n % riders) for n in range(first, first + BATCH_PINGS)]), lambda _: None)

    await paced(BATCH_PINGS / rate, int(seconds * rate / BATCH_PINGS), turn)
    await pool.drain(GIVE_UP_S)
    pool.close()
    return sent


def day_pings(end_ms: int) -> list[dict[str, Any]]:
    """A day of one rider, a ping each five seconds, the last at ``end_ms``: round and round a square kilometre."""
    first_ms = end_ms - (DAY_PINGS - 1) * DAY_INTERVAL_MS
    return [
        {
            "rider_id": DAY_RIDER,
            "latitude": 41.40 + 0.009 * math.sin(number / 60),
            "longitude": 2.17 + 0.012 * math.cos(number / 60),
            "event_timestamp_ms": first_ms + number * DAY_INTERVAL_MS,
            "accuracy_meters": 5.0,
            "speed_mps": 4.0,
        }
        for number in range(DAY_PINGS)
    ]


def jumps(end_ms: int, count: int) -> list[int]:
    """Instants of the whole day by chance."""
    chance, earliest_ms = random.Random(7), _earliest_ms()
    return [chance.randrange(earliest_ms, end_ms) // 1000 * 1000 for _ in range(count)]


def drag(end_ms: int, count: int) -> list[int]:
    """A hand that moves on over the day, and turns at its ends: one to four pixels of the slider each time."""
    chance, earliest_ms = random.Random(9), _earliest_ms()
    at_ms, step_ms, found = end_ms, -PIXEL_MS, []
    for _ in range(count):
        moved_ms = at_ms + chance.randint(1, 4) * step_ms
        if not earliest_ms <= moved_ms < end_ms:
            step_ms = -step_ms
            moved_ms = at_ms + step_ms
        at_ms = moved_ms
        found.append(at_ms // 1000 * 1000)
    return found


def _earliest_ms() -> int:
    # The slider begins 24 hours before now, which is an hour after the day began; the first ten need a full window.
    return int(time.time() * 1000) - 24 * HOUR_MS + 600_000
