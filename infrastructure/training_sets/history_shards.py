"""The rows of a feature history, shard by shard: one pass over the events, one key's state in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from domain.identifiers import shard_of
from infrastructure.backends import Backends, open_backends, projection_named
from infrastructure.replay import parquet
from infrastructure.replay.series import states_of
from infrastructure.settings.settings import Settings
from projections.core.projection import Projection
from projections.replay.archive import TimedEvent
from projections.replay.as_of import Horizon
from read_models.view import Kind, ViewLimits

TICK = "as_of_ms"
_TELL_EVERY = 2_000


class HistoryRequest(msgspec.Struct, frozen=True):
    """What is asked, resolved on one log. Times are epoch milliseconds; ``keys`` None: all. ``axis``: known or event;
    ``position``: how much of the log is looked at."""

    projection: str
    keys: list[str] | None
    from_ms: int
    to_ms: int
    every_ms: int
    axis: str
    position: int
    target_freshness_ms: int
    feature_ttl_ms: int
    allow_expired: bool

    @property
    def ticks(self) -> range:
        return range(self.from_ms, self.to_ms + 1, self.every_ms)


class HistoryPart(msgspec.Struct, frozen=True):
    """What one shard came to. ``digest``: sha256 over its rows; ``schema_ids``: of the events that were read."""

    shard: int
    events: int
    keys: int
    rows: int
    digest: str
    schema_ids: list[int]


def columns(projection: Projection[Any]) -> dict[str, Kind]:
    """The instant first, then what is served of a key."""
    assert projection.view is not None
    return {TICK: "integer", **projection.view.columns}


class _SeenTicks:
    """What passes by while rows are made."""

    def __init__(self, passed: Callable[[int], None]) -> None:
        self.events = self.keys = 0
        self.schema_ids: set[int] = set()
        self._passed = passed
        self._told = 0

    def watch(self, events: Iterable[TimedEvent]) -> Iterator[TimedEvent]:
        for timed in events:
            self.events += 1
            self.schema_ids.add(int.from_bytes(timed.event.payload[1:5]))
            if self.events - self._told >= _TELL_EVERY:
                self.tell()
            yield timed

    def tell(self) -> None:
        self._passed(self.events - self._told)
        self._told = self.events


class _HistoryShard(NamedTuple):
    """Everything that the rows of one key are made with."""

    projection: Projection[Any]
    request: HistoryRequest
    backends: Backends
    discarded: frozenset[int]
    horizon: Horizon
    whole: bool
    """Its first event is there, and so are all: only the beginning of a log is ever detached."""

    def rows(self, key: str, events: Iterable[TimedEvent]) -> Iterator[parquet.Row]:
        view, request = self.projection.view, self.request
        assert view is not None
        limits = ViewLimits(request.target_freshness_ms, request.feature_ttl_ms)
        state, features = None, None
        for tick, now in self._states(key, events):
            if now is not state:
                state, features = now, view.features(now)
            yield {TICK: tick, **view.row(key, features, tick, limits, request.allow_expired)}

    def _states(self, key: str, events: Iterable[TimedEvent]) -> Iterator[tuple[int, Any]]:
        store, projection, horizon, ticks = self.backends, self.projection, self.horizon, self.request.ticks
        return states_of(store, projection, key, events, horizon, ticks, self.discarded, self.whole)


def make_part(
    backends: Backends,
    request: HistoryRequest,
    horizon: Horizon,
    folder: Path,
    shard: int,
    passed: Callable[[int], None],
) -> None:
    """Write the rows of one shard, and then what they came to. Raises Unresolvable if events of it were detached."""
    projection, archive = projection_named(request.projection), backends.archive
    mine = None if request.keys is None else [key for key in request.keys if shard_of(key) == shard]
    whole = bool(archive.shard_range(projection.stream, shard, 0, 1, None))
    shard_rows = _HistoryShard(projection, request, backends, archive.discarded(projection.name), horizon, whole)
    seen, digest = _SeenTicks(passed), hashlib.sha256()

    def rows() -> Iterator[parquet.Row]:
        walk = archive.walk(projection.stream, mine, shard, request.position, by_event_time=request.axis == "event")
        for key, events in groupby(seen.watch(walk), key=lambda timed: timed.event.key):
            seen.keys += 1
            for row in shard_rows.rows(key, events):
                digest.update(msgspec.json.encode(list(row.values())))
                yield row
        seen.tell()

    count = parquet.write(part_file(folder, shard), columns(projection), rows())
    part = HistoryPart(shard, seen.events, seen.keys, count, digest.hexdigest(), sorted(seen.schema_ids))
    aside = sidecar(folder, shard).with_suffix(".part")
    aside.write_bytes(msgspec.json.encode(part))
    aside.replace(sidecar(folder, shard))


def make_parts(
    alive: Callable[[], None],
    settings: Settings,
    request: HistoryRequest,
    horizon: Horizon,
    folder: Path,
    shards: list[int],
    done: Synchronized[int],
) -> None:
    """In a process of its own, or here."""

    def passed(events: int) -> None:
        with done.get_lock():
            done.value += events
        alive()

    with open_backends(settings) as backends:
        for shard in shards:
            make_part(backends, request, horizon, folder, shard, passed)


def part_file(folder: Path, shard: int) -> Path:
    return folder / f"history-{shard:02d}.parquet"


def sidecar(folder: Path, shard: int) -> Path:
    return folder / f"{shard:02d}.json"
