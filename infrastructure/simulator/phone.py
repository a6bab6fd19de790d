"""Simulates what a phone sends and when: missing fixes, times offline, late batches and repeated requests."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from enum import Enum
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from infrastructure.simulator.gps_noise import GpsNoise, NoiseModel
from infrastructure.simulator.riders import City, SimulatedRider, advance, new_rider

SOURCE = "simulator"


class PhoneModel(NamedTuple):
    """How a phone behaves. Durations are in seconds, as (shortest, longest); rates are per hour.

    ``no_speed_share``: share of the fixes without a speed (11 % on MobilityNet's iPhone).
    ``no_fix``: the phone has no position, as in a tunnel, and records nothing.
    ``offline``: fixes are kept and sent in one batch when the phone is online again.
    ``repeat_share`` of the uploads are sent again ``repeat_after_s`` later, as after a lost answer.
    """

    every_s: float = 5.0
    jitter_share: float = 0.02
    upload_s: tuple[float, float] = (0.05, 0.4)
    no_speed_share: float = 0.1
    no_fix_per_hour: float = 6.0
    no_fix_s: tuple[float, float] = (10.0, 60.0)
    offline_per_hour: float = 4.0
    offline_s: tuple[float, float] = (20.0, 180.0)
    repeat_share: float = 0.01
    repeat_after_s: tuple[float, float] = (1.0, 10.0)


class UploadKind(Enum):
    """Why an upload is sent."""

    LIVE = "live"
    """One fix, sent at once."""
    LATE = "late"
    """All fixes of a time offline, sent in one batch."""
    REPEAT = "repeat"
    """The same fixes a second time, as after a lost answer."""


class SimulatedFix(NamedTuple):
    """A ping as it is posted, and the rider's true state at its instant."""

    ping: dict[str, Any]
    truth: SimulatedRider


class Upload(NamedTuple):
    """One request of one phone, sent ``send_at_s`` seconds after the start."""

    send_at_s: float
    rider_id: str
    kind: UploadKind
    fixes: tuple[SimulatedFix, ...]


class Day(NamedTuple):
    """What all phones share. ``start_ms`` is second 0 in epoch milliseconds; ``duration_s`` may be inf."""

    seed: str
    start_ms: int
    duration_s: float
    city: City = City()
    noise: NoiseModel = NoiseModel()
    phone: PhoneModel = PhoneModel()


def uploads(rider_id: str, day: Day) -> Iterator[Upload]:
    """Everything that the rider's phone sends, by time of sending. The same arguments give the same uploads.

    At the end the phone sends the fixes that it still holds, offline or not, so that every fix is sent.
    """
    behaviour = Random(f"{day.seed}/{rider_id}/phone")
    waiting: list[tuple[float, int, Upload]] = []
    held: list[SimulatedFix] = []
    offline, count, now_s = Spells(day.phone.offline_per_hour, day.phone.offline_s, behaviour), 0, 0.0

    def send(kind: UploadKind, at_s: float, fixes: tuple[SimulatedFix, ...]) -> None:
        nonlocal count
        count += 1
        heapq.heappush(waiting, (at_s, count, Upload(at_s, rider_id, kind, fixes)))

    def send_held(kind: UploadKind) -> None:
        at_s, fixes = now_s + behaviour.uniform(*day.phone.upload_s), tuple(held)
        held.clear()
        send(kind, at_s, fixes)
        if behaviour.random() < day.phone.repeat_share:
            send(UploadKind.REPEAT, at_s + behaviour.uniform(*day.phone.repeat_after_s), fixes)

    for at_s, fix in fixes_of(rider_id, day):
        now_s = at_s
        # No later upload can be due before this instant, so those due by now are sent in order.
        while waiting and waiting[0][0] <= now_s:
            yield heapq.heappop(waiting)[2]
        if fix is not None:
            held.append(fix)
        if held and not offline.at(now_s):
            send_held(UploadKind.LIVE if len(held) == 1 else UploadKind.LATE)
    if held:
        send_held(UploadKind.LATE)
    while waiting:
        yield heapq.heappop(waiting)[2]


def fixes_of(rider_id: str, day: Day) -> Iterator[tuple[float, SimulatedFix | None]]:
    """The second of every attempted fix and the fix, None if there was no position. Event times strictly increase."""
    route, phone, gps, event_ids = (
        Random(f"{day.seed}/{rider_id}/{part}") for part in ("way", "fixes", "gps", f"ids/{day.start_ms}")
    )
    rider, noise = new_rider(day.city, route), GpsNoise(day.noise, gps)
    no_fix = Spells(day.phone.no_fix_per_hour, day.phone.no_fix_s, phone)
    every_s, jitter_s = day.phone.every_s, day.phone.every_s * day.phone.jitter_share
    now_s, due_s = 0.0, phone.uniform(0.0, every_s)
    while due_s < day.duration_s:
        # Whole milliseconds, as in the ping, so that the true state is that of exactly the same instant.
        at_s = round(due_s + phone.uniform(0.0, jitter_s), 3)
        rider = advance(rider, at_s - now_s, day.city, route)
        error, speed = noise.after(at_s - now_s), _device_speed(rider, day, phone)
        now_s, due_s = at_s, max(due_s + every_s, at_s + 0.001)
        if no_fix.at(at_s):
            yield at_s, None
            continue
        latitude, longitude = day.city.degrees_of(rider.east_m + error.east_m, rider.north_m + error.north_m)
        ping: dict[str, Any] = {
            "rider_id": rider_id,
            "latitude": round(latitude, 7),
            "longitude": round(longitude, 7),
            "event_timestamp_ms": day.start_ms + round(at_s * 1000),
            "accuracy_meters": round(error.accuracy_m, 2),
            "event_id": str(UUID(int=event_ids.getrandbits(128), version=4)),
            "source_service": SOURCE,
        }
        if speed is not None:
            ping["speed_mps"] = speed
        yield at_s, SimulatedFix(ping, rider)


class Spells:
    """Random periods of a condition, with a rate per hour and a range of durations. Query them in order of time."""

    def __init__(self, per_hour: float, lasts_s: tuple[float, float], chance: Random) -> None:
        self._per_second = per_hour / 3600.0
        self._lasts_s = lasts_s
        self._chance = chance
        self._begins_s, self._ends_s = self._next(0.0)

    def at(self, now_s: float) -> bool:
        """Whether the condition holds at ``now_s``."""
        while now_s >= self._ends_s:
            self._begins_s, self._ends_s = self._next(self._ends_s)
        return now_s >= self._begins_s

    def _next(self, after_s: float) -> tuple[float, float]:
        if self._per_second <= 0.0:
            return float("inf"), float("inf")
        begins_s = after_s + self._chance.expovariate(self._per_second)
        return begins_s, begins_s + self._chance.uniform(*self._lasts_s)


def _device_speed(rider: SimulatedRider, day: Day, chance: Random) -> float | None:
    speed = max(0.0, chance.gauss(rider.speed_mps, day.noise.speed_sigma_mps if rider.speed_mps else 0.0))
    return None if chance.random() < day.phone.no_speed_share else round(speed, 2)
