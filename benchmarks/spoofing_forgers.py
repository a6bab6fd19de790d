"""Six ways of forging a track, each with a strength, as a rider with a mock-location app or an altered phone has them.

A forger has what the real phone measures, and changes what it sends while a leg is open. Each is seeded.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks.spoofing_files import Record
from benchmarks.spoofing_pieces import Day, Leg, way_m
from domain.identifiers import derive_event_id

METRES_A_DEGREE = 111_195.0
MIN_AWAY_M = 300.0
MOCK_NOISE_M = 2.0
"""Noise that an app adds to a place that it shows."""


class Attack(NamedTuple):
    """``unit`` of the strength; ``gains_from``: the least strength that gains the rider something, for ``reason``.

    ``needs_speed``: only phones that report their speed give the second witness.
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    gains_from: float
    reason: str
    forge: Callable[[Day, float, random.Random], Day | None]
    needs_speed: bool = False


def moved(record: Record, north_m: float, east_m: float) -> Record:
    latitude = record["latitude"] + north_m / METRES_A_DEGREE
    longitude = record["longitude"] + east_m / METRES_A_DEGREE / math.cos(math.radians(record["latitude"]))
    return record | {"latitude": latitude, "longitude": longitude}


def _at(record: Record, latitude: float, longitude: float) -> Record:
    return record | {"latitude": latitude, "longitude": longitude}


def _direction(chance: random.Random) -> tuple[float, float]:
    angle = chance.uniform(0, 2 * math.pi)
    return math.cos(angle), math.sin(angle)


def _during(day: Day, forge: Callable[[Record], Record]) -> list[Record]:
    leg = day.leg
    return [
        forge(record) if leg.start_ms <= record["event_timestamp_ms"] <= leg.end_ms else record
        for record in day.records
    ]


def _received(day: Day, records: Sequence[Record]) -> Day:
    """The day with forged pings: each with the event id that ingest would derive from it."""
    renamed = [
        record
        | {"event_id": derive_event_id("rider", record["event_timestamp_ms"], record["latitude"], record["longitude"])}
        for record in records
    ]
    return day._replace(records=renamed)


def _first_of_leg(day: Day) -> Record:
    return next(record for record in day.records if record["event_timestamp_ms"] >= day.leg.start_ms)


def teleport(day: Day, distance_m: float, chance: random.Random) -> Day:
    """The target is ``distance_m`` away; the app shows the rider there at once, until the order is done."""
    north, east = _direction(chance)
    target = moved(_first_of_leg(day), north * distance_m, east * distance_m)
    leg = Leg(day.leg.start_ms, day.leg.end_ms, target["latitude"], target["longitude"])

    def forge(record: Record) -> Record:
        shown = moved(target, chance.gauss(0, MOCK_NOISE_M), chance.gauss(0, MOCK_NOISE_M))
        return _at(record, shown["latitude"], shown["longitude"]) | {"speed_mps": 0.0}

    return _received(day, _during(day, forge))._replace(leg=leg)


def slow_drift(day: Day, speed_mps: float, chance: random.Random) -> Day:
    """The rider stays where he is; the app moves him to the target at ``speed_mps``. Speeds are the phone's own."""
    north, east = _direction(chance)
    first = _first_of_leg(day)
    at_rest = [r for r in day.records if r["speed_mps"] is None or r["speed_mps"] <= 0.5] or [
        first | {"speed_mps": 0.0}
    ]

    def forge(record: Record) -> Record:
        metres = speed_mps * (record["event_timestamp_ms"] - first["event_timestamp_ms"]) / 1_000
        shown = moved(
            first, north * metres + chance.gauss(0, MOCK_NOISE_M), east * metres + chance.gauss(0, MOCK_NOISE_M)
        )
        return _at(record, shown["latitude"], shown["longitude"]) | {"speed_mps": chance.choice(at_rest)["speed_mps"]}

    return _received(day, _during(day, forge))


def replay(day: Day, noise_m: float, chance: random.Random) -> Day:
    """The app shows the fixes of the earlier day at the same intervals, with ``noise_m`` of noise."""
    offset_ms = day.leg.start_ms - day.earlier[0]["event_timestamp_ms"]
    lasts_ms = day.leg.end_ms - day.leg.start_ms
    shown = []
    for record in day.earlier:
        t_ms = record["event_timestamp_ms"] + offset_ms
        if t_ms > day.leg.start_ms + lasts_ms:
            break
        forged = moved(record, chance.gauss(0, noise_m), chance.gauss(0, noise_m)) if noise_m else record
        late_ms = max(0, record["received_timestamp_ms"] - record["event_timestamp_ms"])
        shown.append(forged | {"event_timestamp_ms": t_ms, "received_timestamp_ms": t_ms + late_ms})
    until_ms = shown[-1]["event_timestamp_ms"]
    honest = [r for r in day.records if not day.leg.start_ms <= r["event_timestamp_ms"] <= until_ms]
    records = sorted([*honest, *shown], key=lambda record: record["received_timestamp_ms"])
    return _received(day, records)


def frozen_fix(day: Day, minutes: float, _chance: random.Random) -> Day | None:
    """The position stands for ``minutes`` of the leg, as if the rider waited, while he rides; the phone's speeds go on.

    It is held at the fix from which he gets farthest in that time. None: he gets nowhere, so nothing is gained.
    """
    leg, held_ms = day.leg, round(minutes * 60_000)
    of_leg = [record for record in day.records if leg.start_ms <= record["event_timestamp_ms"] <= leg.end_ms]

    def gained_m(held: Record) -> float:
        until_ms = held["event_timestamp_ms"] + held_ms
        return way_m(held, next((r for r in of_leg if r["event_timestamp_ms"] >= until_ms), held))

    held = max(of_leg[:: max(1, len(of_leg) // 60)], key=gained_m)
    if gained_m(held) < MIN_AWAY_M:
        return None
    from_ms, until_ms = held["event_timestamp_ms"], held["event_timestamp_ms"] + held_ms

    def forge(record: Record) -> Record:
        is_held = from_ms <= record["event_timestamp_ms"] <= until_ms
        return _at(record, held["latitude"], held["longitude"]) if is_held else record

    return _received(day, _during(day, forge))


def offset_at_assignment(day: Day, distance_m: float, chance: random.Random) -> Day:
    """The whole leg is shown ``distance_m`` away, as one who queues nearer than he is."""
    north, east = _direction(chance)
    return _received(day, _during(day, lambda record: moved(record, north * distance_m, east * distance_m)))


def clock_shift(day: Day, seconds: float, _chance: random.Random) -> Day:
    """During the leg the phone says that everything happened ``seconds`` earlier."""
    back_ms = round(seconds * 1_000)
    return _received(
        day, _during(day, lambda record: record | {"event_timestamp_ms": record["event_timestamp_ms"] - back_ms})
    )


ATTACKS = (
    Attack(
        "teleport",
        "m",
        (200, 500, 1_000, 2_000, 5_000),
        1_000,
        "a kilometre is a leg that is paid and not ridden",
        teleport,
    ),
    Attack(
        "slow drift",
        "m/s",
        (0.5, 1, 2, 3, 5, 8),
        3,
        "3 m/s is a bicycle: slower, the forged ride takes longer than the real one",
        slow_drift,
        needs_speed=True,
    ),
    Attack("replay", "m of noise", (0, 0.1, 0.3, 1, 3), 0, "any ride that is paid twice", replay),
    Attack(
        "frozen fix",
        "min",
        (0.5, 1, 2, 4),
        2,
        "two minutes of waiting that are paid while the rider is elsewhere",
        frozen_fix,
        needs_speed=True,
    ),
    Attack(
        "offset at assignment",
        "m",
        (100, 200, 300, 500, 1_000, 2_000),
        1_000,
        "a kilometre nearer is a place in the queue, three minutes of riding",
        offset_at_assignment,
    ),
    Attack(
        "clock shift",
        "s",
        (30, 60, 120, 300, 600),
        120,
        "two minutes turn a late hand-over into one in time",
        clock_shift,
    ),
)
