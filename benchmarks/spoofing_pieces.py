"""Pieces of real tracks with a leg each, into which ``spoofing_forgers`` injects attacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

from benchmarks.spoofing_files import GpsFile, Record
from domain.features.geo import haversine_mm
from domain.features.keyed_event import KeyedEvent

MINUTE_MS = 60_000
DAY_MS = 1_440 * MINUTE_MS
LONGEST_PIECE_MS = 20 * MINUTE_MS
SHORTEST_PIECE_MS = 7 * MINUTE_MS
LONGEST_GAP_MS = MINUTE_MS
LONGEST_INTERVAL_MS = 5_000
"""Phones that send a fix at least every five seconds, as a courier's app does."""

EARLIER_DAYS = 3

LEG_FROM, LEG_UNTIL = 0.2, 0.8
"""The leg is the middle of a piece, so that the phone is seen before and after it."""

LONGEST_GAP_AT_ENDS_MS = 15_000
LONGEST_GAP_IN_LEG_MS = 30_000
AROUND_END_MS = 30_000
WORST_ACCURACY_M = 50
BAD_PART = 0.1
SHORTEST_RIDE_M = 500
"""A leg is used if the phone sends all the while and at its ends, says where it is in nine of ten pings, and rides.
Of a phone that says that it is within 1,023 m nothing can be proved, and a leg of a few houses gains nothing."""

KNOWN_SPEEDS_PART = 0.3
"""A phone reports its speed if at least this part of its fixes have one above 0."""


class Piece(NamedTuple):
    """Pings of one phone on one day, as they were received. ``reports_speed``: it knows its speed as it moves."""

    phone: str
    name: str
    records: Sequence[Record]
    reports_speed: bool

    @property
    def start_ms(self) -> int:
        return int(self.records[0]["event_timestamp_ms"])

    @property
    def end_ms(self) -> int:
        return int(self.records[-1]["event_timestamp_ms"])


class Leg(NamedTuple):
    """A leg of the piece: when it was open, in epoch ms, and its target in WGS84 degrees."""

    start_ms: int
    end_ms: int
    latitude: float
    longitude: float


class Day(NamedTuple):
    """What the fold sees: the pings of earlier days, of which ``earlier`` is the last, and of this day with one leg."""

    before: Sequence[Record]
    earlier: Sequence[Record]
    records: Sequence[Record]
    leg: Leg


def pieces_of(files: Sequence[GpsFile]) -> list[Piece]:
    """The pieces of all phones that send often enough."""
    found = []
    for file in files:
        for rider_id, records in file.riders.items():
            for number, part in enumerate(_cut(records)):
                times = [record["event_timestamp_ms"] for record in part]
                gaps = [b - a for a, b in pairwise(times)]
                if times[-1] - times[0] >= SHORTEST_PIECE_MS and median(gaps) <= LONGEST_INTERVAL_MS:
                    speeds = sum(1 for record in part if (record["speed_mps"] or 0) > 0)
                    known = speeds >= KNOWN_SPEEDS_PART * len(part)
                    found.append(Piece(rider_id, f"{rider_id} {number}", part, known))
    return found


def _cut(records: Sequence[Record]) -> Iterator[list[Record]]:
    part: list[Record] = []
    for record in sorted(records, key=lambda record: record["event_timestamp_ms"]):
        t_ms = record["event_timestamp_ms"]
        if part and (
            t_ms - part[-1]["event_timestamp_ms"] > LONGEST_GAP_MS
            or t_ms - part[0]["event_timestamp_ms"] > LONGEST_PIECE_MS
        ):
            yield sorted(part, key=lambda record: record["received_timestamp_ms"])
            part = []
        part.append(record)
    if part:
        yield sorted(part, key=lambda record: record["received_timestamp_ms"])


def honest_days(pieces: Sequence[Piece]) -> list[tuple[Piece, Day]]:
    """The pieces whose leg can be used, each after days with other rides: of the same phone, else of others."""
    days = [(piece, honest_day(piece, [piece])) for piece in pieces]
    rides = [(piece, day) for piece, day in days if _is_ride(day)]
    found = []
    for piece, _ in rides:
        others = [one for one, _ in rides if one is not piece]
        of_phone = [one for one in others if one.phone == piece.phone]
        speaking = [one for one in of_phone or others if one.reports_speed == piece.reports_speed]
        nearest = sorted(speaking or others, key=lambda one: abs(one.start_ms - piece.start_ms))
        found.append((piece, honest_day(piece, nearest[:EARLIER_DAYS])))
    return found


def _is_ride(day: Day) -> bool:
    leg = day.leg
    for end_ms in (leg.start_ms, leg.end_ms):
        near = [r for r in day.records if abs(r["event_timestamp_ms"] - end_ms) <= AROUND_END_MS]
        times = sorted(record["event_timestamp_ms"] for record in near)
        if any(b - a > LONGEST_GAP_AT_ENDS_MS for a, b in pairwise([end_ms - AROUND_END_MS, *times])):
            return False
        if not times or end_ms + AROUND_END_MS - times[-1] > LONGEST_GAP_AT_ENDS_MS:
            return False
    of_leg = [record for record in day.records if leg.start_ms <= record["event_timestamp_ms"] <= leg.end_ms]
    if any(b["event_timestamp_ms"] - a["event_timestamp_ms"] > LONGEST_GAP_IN_LEG_MS for a, b in pairwise(of_leg)):
        return False
    bad = sum((record["accuracy_meters"] or 0) > WORST_ACCURACY_M for record in of_leg)
    if bad > BAD_PART * len(of_leg):
        return False
    return max(way_m(of_leg[0], record) for record in of_leg) >= SHORTEST_RIDE_M


def way_m(a: Record, b: Record) -> float:
    """The distance between two pings in metres."""
    return haversine_mm(a["latitude"], a["longitude"], b["latitude"], b["longitude"]) / 1_000


def honest_day(piece: Piece, earlier: Sequence[Piece]) -> Day:
    """The piece with a leg to where the rider really was at its end; the first of ``earlier`` was a day before."""
    start_ms = piece.start_ms + round((piece.end_ms - piece.start_ms) * LEG_FROM)
    end_ms = piece.start_ms + round((piece.end_ms - piece.start_ms) * LEG_UNTIL)
    at_end = next(record for record in piece.records if record["event_timestamp_ms"] >= end_ms)
    leg = Leg(start_ms, end_ms, at_end["latitude"], at_end["longitude"])
    days = [
        [shifted(record, piece.start_ms - DAY_MS * back - one.start_ms) for record in one.records]
        for back, one in enumerate(earlier, start=1)
    ]
    return Day([record for day in reversed(days[1:]) for record in day], days[0], piece.records, leg)


def shifted(record: Record, ms: int) -> Record:
    return record | {
        "event_timestamp_ms": record["event_timestamp_ms"] + ms,
        "received_timestamp_ms": record["received_timestamp_ms"] + ms,
    }


def events_of_day(day: Day) -> list[KeyedEvent]:
    """The events of the rider's stream: pings by reception, the leg's start and end at their times."""
    leg = day.leg
    named = {"order_id": "order-1", "leg": "to_customer", "received_timestamp_ms": 0}
    started = named | {"event_timestamp_ms": leg.start_ms, "event_id": "00000000-0000-4000-8000-000000000001"}
    started |= {"target_latitude": leg.latitude, "target_longitude": leg.longitude}
    ended = named | {"event_timestamp_ms": leg.end_ms, "event_id": "00000000-0000-4000-8000-000000000002"}
    rows: list[tuple[int, str, dict[str, Any]]] = [
        (record["received_timestamp_ms"], "GpsPing", record) for record in (*day.before, *day.earlier, *day.records)
    ]
    rows += [(leg.start_ms, "LegStarted", started), (leg.end_ms, "LegEnded", ended)]
    rows.sort(key=lambda row: row[0])
    return [KeyedEvent("rider", number, number, kind, data) for number, (_, kind, data) in enumerate(rows, start=1)]
