"""Writes the rows of a feature history shard by shard, in one pass over the events, with one key's state in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from domain.identifiers import shard_of
from infrastructure.backends import Backends, projection_named
from infrastructure.replay import parquet
from infrastructure.replay.series import StateSeries
from infrastructure.replay.whole_files import write_whole
from infrastructure.settings.settings import Settings
from projections.core.projection import Projection
from projections.replay.archive import TimedEvent
from projections.replay.as_of import Horizon
from read_models.view import ColumnType, ViewLimits

TICK = "as_of_ms"
PROGRESS_INTERVAL_EVENTS = 2_000


class HistoryRequest(msgspec.Struct, frozen=True):
    """A request resolved on one log. Times are epoch milliseconds.

    ``keys`` None: all keys. ``axis``: known or event. ``position``: last position of the log that counts.
    """

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


class BoundHistory(NamedTuple):
    """A request with the horizon to which it resolved on this log."""

    request: HistoryRequest
    horizon: Horizon


class HistoryPart(msgspec.Struct, frozen=True):
    """Result of one shard. ``digest``: sha256 over its rows; ``schema_ids``: of the events that were read."""

    shard: int
    events: int
    keys: int
    rows: int
    digest: str
    schema_ids: list[int]


def columns(projection: Projection[Any]) -> dict[str, ColumnType]:
    """The instant, then the columns that are served of a key."""
    assert projection.view is not None
    return {TICK: "integer", **projection.view.columns}


class _EventCounts:
    """Counts the events and keys from which rows are made."""

    def __init__(self, on_events: Callable[[int], None]) -> None:
        self.events = self.keys = 0
        self.schema_ids: set[int] = set()
        self._on_events = on_events
        self._reported = 0

    def counted(self, events: Iterable[TimedEvent]) -> Iterator[TimedEvent]:
        """Yield and count ``events``."""
        for timed in events:
            self.events += 1
            self.schema_ids.add(int.from_bytes(timed.event.payload[1:5]))
            if self.events - self._reported >= PROGRESS_INTERVAL_EVENTS:
                self.report()
            yield timed

    def report(self) -> None:
        """Report the events since the last report."""
        self._on_events(self.events - self._reported)
        self._reported = self.events


class _HistoryShard(NamedTuple):
    """Makes the rows of the keys of one shard."""

    projection: Projection[Any]
    request: HistoryRequest
    series: StateSeries
    whole: bool
    """Its first event is in the database, and so are all: only the beginning of a log is ever detached."""

    def rows(self, key: str, events: Iterable[TimedEvent]) -> Iterator[parquet.Row]:
        view, request = self.projection.view, self.request
        assert view is not None
        limits = ViewLimits(request.target_freshness_ms, request.feature_ttl_ms)
        state, features = None, None
        for tick, now in self.series.states(key, events, whole=self.whole):
            if now is not state:
                state, features = now, view.features(now)
            yield {TICK: tick, **view.row(key, features, tick, limits, request.allow_expired)}


def make_part(
    backends: Backends,
    history: BoundHistory,
    folder: Path,
    shard: int,
    on_events: Callable[[int], None],
) -> None:
    """Write the rows of one shard, then its HistoryPart. Raises Unresolvable if events of the shard were detached."""
    request, horizon = history
    projection, archive = projection_named(request.projection), backends.archive
    keys = None if request.keys is None else [key for key in request.keys if shard_of(key) == shard]
    whole = bool(archive.shard_range(projection.stream, shard, 0, 1, None))
    series = StateSeries(backends, projection, horizon, request.ticks)
    shard_rows = _HistoryShard(projection, request, series, whole)
    seen, digest = _EventCounts(on_events), hashlib.sha256()
    without_events = dict.fromkeys(keys or ())

    def rows() -> Iterator[parquet.Row]:
        walk = archive.walk(projection.stream, keys, shard, request.position, by_event_time=request.axis == "event")
        for key, events in groupby(seen.counted(walk), key=lambda timed: timed.event.key):
            seen.keys += 1
            without_events.pop(key, None)
            for row in shard_rows.rows(key, events):
                digest.update(msgspec.json.encode(list(row.values())))
                yield row
        # All events of a key may have been detached: a file without its rows would say that it was unknown.
        for key in without_events if not whole else ():
            series.check_not_detached(key)
        seen.report()

    count = parquet.write(part_file(folder, shard), columns(projection), rows())
    part = HistoryPart(shard, seen.events, seen.keys, count, digest.hexdigest(), sorted(seen.schema_ids))
    write_whole(sidecar(folder, shard), msgspec.json.encode(part))


def make_parts(
    settings: Settings, history: BoundHistory, folder: Path, shards: Sequence[int], on_events: Callable[[int], None]
) -> None:
    """Make the parts of ``shards``, in whatever process. Raises Unresolvable, PortUnavailable."""
    with Backends(settings) as backends:
        for shard in shards:
            make_part(backends, history, folder, shard, on_events)


def make_parts_in_process(
    heartbeat: Callable[[], None],
    settings: Settings,
    history: BoundHistory,
    folder: Path,
    shards: Sequence[int],
    done: Synchronized[int],
) -> None:
    """Make the parts of ``shards`` in a process of this machine, which share the count ``done``."""

    def on_events(events: int) -> None:
        with done.get_lock():
            done.value += events
        heartbeat()

    make_parts(settings, history, folder, shards, on_events)


def part_file(folder: Path, shard: int) -> Path:
    return folder / f"history-{shard:02d}.parquet"


def sidecar(folder: Path, shard: int) -> Path:
    return folder / f"{shard:02d}.json"
