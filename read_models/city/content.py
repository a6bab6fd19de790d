"""What a city snapshot holds: the merge of the partial tables of all shards at one vector of fences. Pure.

Canonical: equal tables at equal vectors give equal bytes, however the tables came about (invariant 8).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from domain.features.orders import OPEN_SLOT
from domain.features.orders import RING_SLOTS as ORDER_RING_SLOTS
from domain.features.partials import PartialTable, add_newest, add_sums, merge_slots
from domain.features.traffic.city import RECENT_BUCKETS, Sums, recent_traffic
from domain.features.traffic.partials import ALL_TIME_SLOT, FIRST_HOUR_SLOT
from domain.features.traffic.partials import RING_SLOTS as TRAFFIC_RING_SLOTS
from domain.features.traffic.steps import BUCKET_MS, HOURS_OF_WEEK, hour_of_week
from read_models.city.calibration import SCORE_SLOTS, ScoreHours
from read_models.city.hours import HoursOfWeek, PermanentSums

FORMAT = 3
"""1: the riders of ``recent`` were summed over the buckets. 2: there was no calibration."""
TRAFFIC_PERMANENT = range(FIRST_HOUR_SLOT, ALL_TIME_SLOT + 1)
ORDERS_PERMANENT = (OPEN_SLOT,)
CALIBRATION_PERMANENT = SCORE_SLOTS
"""All hours: of each, the newest that any shard has counts over all shards."""
DIGEST_BYTES = 16
BucketTotals = Mapping[str, tuple[int, ...]]
"""Field -> sums over all shards, of one bucket."""


class TableVector(msgspec.Struct, frozen=True, array_like=True):
    """Where the tables of one projection were read: its generation, and the seq of each shard's fence."""

    generation: int
    seqs: tuple[int, ...]


class CityTables(NamedTuple):
    """The tables of one projection at ``vector``: rings by shard, and permanent slots summed over the shards."""

    vector: TableVector
    rings: Collection[PartialTable]
    permanent: PermanentSums
    buckets: Mapping[int, int]
    """Slot -> the bucket that the sums in ``permanent`` are of; 0 if it is never replaced."""


class CityParts(NamedTuple):
    """What a snapshot is merged from."""

    traffic: CityTables
    orders: CityTables
    calibration: CityTables


class CityHours:
    """What is kept of the permanent sums from one merge to the next."""

    def __init__(self) -> None:
        self.week = HoursOfWeek()
        self.scores = ScoreHours()


class CityContent(msgspec.Struct, frozen=True, array_like=True):
    """The content of a snapshot: integers only, each list sorted.

    ``recent``: traffic of the last 30 minutes: cell, octant, ms, mm, and the riders of the five minutes with the most.
    ``headings``: all traffic: cell, octant,
    ms, mm. ``fleet_hours``: hour of the week, ms, mm. ``parent_hours``: cell, hour, ms, mm of this hour of the week, of
    the next one and of the cell's fastest one. ``fastest``: cell, hour, ms, mm of the fastest hour. ``open_orders``:
    cell, count. ``finished``: cell, count, Σ duration ms, Σ lateness ms, count with a promise, of the last hour.
    ``hours``: the digest of all hours of the week. ``thresholds``: leg, city, and the scores that P50 and P90 are moved
    to (``Calibration.rows``). ``scores``: the digest of the counts that they come from.
    """

    format: int
    log_id: str
    as_of_ms: int
    traffic: TableVector
    orders: TableVector
    recent: list[tuple[int, int, int, int, int]]
    headings: list[tuple[int, int, int, int]]
    fleet_hours: list[tuple[int, int, int]]
    parent_hours: list[tuple[int, int, int, int]]
    fastest: list[tuple[int, int, int, int]]
    open_orders: list[tuple[int, int]]
    finished: list[tuple[int, int, int, int, int]]
    hours: bytes
    calibration: TableVector
    thresholds: list[tuple[str, str, int, int]]
    scores: bytes


def merge(log_id: str, as_of_ms: int, parts: CityParts, kept: CityHours) -> CityContent:
    """The snapshot of these tables; ``kept`` is of them too. ``as_of_ms`` decides which buckets count."""
    traffic, orders, hours = parts.traffic, parts.orders, kept.week
    now = as_of_ms // BUCKET_MS
    hour = hour_of_week(now)
    wanted = {hour, (hour + 1) % HOURS_OF_WEEK}
    recent = recent_traffic(_buckets(traffic.rings, TRAFFIC_RING_SLOTS, range(now - RECENT_BUCKETS + 1, now + 1)))
    finished: dict[str, tuple[int, ...]] = {}
    for sums in _buckets(orders.rings, ORDER_RING_SLOTS, range(now - ORDER_RING_SLOTS + 1, now + 1)):
        add_sums(finished, sums)
    return CityContent(
        FORMAT,
        log_id,
        as_of_ms,
        traffic.vector,
        orders.vector,
        sorted((*_heading(field), ms, mm, riders) for field, (ms, mm, riders) in recent.items()),
        sorted((*_heading(field), ms, mm) for field, (ms, mm) in traffic.permanent.get(ALL_TIME_SLOT, {}).items()),
        sorted((hour, *sums) for hour, sums in hours.fleet.items()),
        sorted(_parent_hours(hours, wanted)),
        sorted((cell, hour, *hours.cells[cell][hour]) for cell, hour in hours.fastest.items() if cell in hours.cells),
        sorted((int(field, 16), count) for field, (count,) in orders.permanent.get(OPEN_SLOT, {}).items()),
        sorted((int(field, 16), *_four(sums)) for field, sums in finished.items()),
        hours.digest(),
        parts.calibration.vector,
        kept.scores.calibration(as_of_ms).rows(),
        kept.scores.digest(),
    )


def tables_of(vector: TableVector, tables: Sequence[PartialTable], permanent_slots: Collection[int]) -> CityTables:
    """The tables of all shards, whole, as a replay has them."""
    rings = [{slot: one for slot, one in table.items() if slot not in permanent_slots} for table in tables]
    permanent: dict[int, dict[str, tuple[int, ...]]] = {}
    buckets: dict[int, int] = {}
    for table in tables:
        for slot, one in table.items():
            if slot in permanent_slots:
                add_newest(permanent, buckets, slot, one)
    return CityTables(vector, rings, permanent, buckets)


def hours_of(parts: CityParts) -> CityHours:
    """What is kept of whole tables."""
    kept = CityHours()
    kept.week.update(parts.traffic.permanent, parts.traffic.permanent)
    scores = parts.calibration
    kept.scores.update(scores.permanent, scores.buckets, scores.permanent)
    return kept


def encode(content: CityContent) -> bytes:
    """The canonical bytes."""
    return msgspec.msgpack.encode(content)


def digest_of(data: bytes) -> str:
    """32 hex digits over the bytes of a snapshot."""
    return blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


class UnreadableCityContent(Exception):
    """The bytes were not written by this version of the read model, or are damaged."""


def decode(data: bytes) -> CityContent:
    """The content that ``encode`` was given. Raises UnreadableCityContent."""
    try:
        content = msgspec.msgpack.decode(data, type=CityContent)
    except msgspec.DecodeError as error:
        raise UnreadableCityContent(_other_format(data) or str(error)) from error
    if content.format != FORMAT:
        raise UnreadableCityContent(_other_format(data))
    return content


def _other_format(data: bytes) -> str:
    """Which other format the bytes have; "" if they have none."""
    try:
        members = msgspec.msgpack.decode(data, type=list[Any])
    except msgspec.DecodeError:
        return ""
    is_other = bool(members) and isinstance(members[0], int) and members[0] != FORMAT
    return f"other code merged it, in format {members[0]}; this code reads {FORMAT}" if is_other else ""


def _buckets(rings: Collection[PartialTable], slots: int, buckets: Iterable[int]) -> Iterator[BucketTotals]:
    for bucket in buckets:
        yield merge_slots(rings, bucket % slots, bucket)


def _parent_hours(hours: HoursOfWeek, wanted: Collection[int]) -> Iterable[tuple[int, int, int, int]]:
    for parent, of_parent in hours.parents.items():
        chosen: set[int | None] = {*wanted, hours.fastest.get(parent)}
        for hour, (ms, mm) in of_parent.items():
            if hour in chosen:
                yield parent, hour, ms, mm


def _four(sums: tuple[int, ...]) -> tuple[int, int, int, int]:
    count, duration_ms, lateness_ms, promised = sums
    return count, duration_ms, lateness_ms, promised


def _heading(field: str) -> tuple[int, int]:
    cell, _, octant = field.partition("/")
    return int(cell, 16), int(octant)


def by_hour(found: Iterable[tuple[int, int, int, int]]) -> dict[int, dict[int, Sums]]:
    """(cell, hour, ms, mm) as cell -> hour -> sums."""
    hours: dict[int, dict[int, Sums]] = {}
    for cell, hour, ms, mm in found:
        hours.setdefault(cell, {})[hour] = ms, mm
    return hours
