"""Second pass: the riders of one shard. Adds the rider to each seed, and writes what riders change in the traffic.

Rows without their city go to a spool by chunk: a range of the clock, so that the next pass goes along it once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import msgspec

from domain.features.speed.window import SpeedState
from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.replay.whole_files import write_whole
from infrastructure.training_sets.city_changes import TRAFFIC_COLUMNS, ChangeWriter
from infrastructure.training_sets.eta_request import EtaRequest
from infrastructure.training_sets.order_shards import NO_RIDER, OrderFiles, Seed
from infrastructure.training_sets.rider_life import (
    EventTimeline,
    Folded,
    FoldOptions,
    RiderState,
    follow_event_time,
    follow_log,
)
from infrastructure.training_sets.spool import SpoolReader, SpoolWriter
from projections.core.ports import LoggedEvent
from projections.replay.archive import TimedEvent
from projections.replay.as_of import Unresolvable
from projections.replay.event_axis import HappenedEvents
from projections.speed import SPEED
from projections.traffic import TRAFFIC

PROGRESS_EVENTS = 2_000
ENCODED_EVENTS = 1_000
"""Events after which the traffic state is encoded, to find one that cannot be: its key is parked."""

_clock = attrgetter("clock")

pack_rider: Callable[[SpeedState], bytes] = msgspec.msgpack.Encoder().encode
"""Packs the rider of a row for the next pass, which reads it in a sixth of the time of a stored state."""
unpack_rider: Callable[[bytes], SpeedState] = msgspec.msgpack.Decoder(SpeedState).decode


class RiderPart(msgspec.Struct, frozen=True):
    """Result of one shard; written when its files are complete."""

    events: int
    schema_ids: list[int]
    rows: int


class RiderFiles(NamedTuple):
    """The files of one shard in a folder. The shard ``NO_RIDER`` has the seeds of orders without a rider."""

    folder: Path
    shard: int

    @property
    def part(self) -> Path:
        return self.folder / f"riders-{self.shard:02d}.json"

    @property
    def rows(self) -> Path:
        """Spool of (Seed, packed rider or None) by chunk."""
        return self.folder / f"rows-{self.shard:02d}.spool"

    @property
    def changes(self) -> Path:
        return self.folder / f"traffic-changes-{self.shard:02d}.bin"


class UnencodableState(Exception):
    """A state of the rider cannot be encoded: the key is folded again, to find the event that it is parked at."""


class RiderPass:
    """Makes the parts of shards of riders. ``bounds``: the first clock of each chunk but the first."""

    def __init__(
        self,
        backends: Backends,
        request: EtaRequest,
        folder: Path,
        bounds: Sequence[int],
        on_events: Callable[[int], None],
    ) -> None:
        self._archive = backends.archive
        self._request = request
        self._folder = folder
        self._bounds = bounds
        self._on_events = on_events
        self._options = FoldOptions(
            backends.decode, self._archive.discarded(SPEED.name), self._archive.discarded(TRAFFIC.name)
        )
        self._last_seqs = self._archive.head(SPEED.stream).seqs
        self._seeds = [SpoolReader(OrderFiles(folder, shard).seeds) for shard in range(SHARDS)]

    def make(self, shard: int) -> None:
        """Write the files of one shard. Raises Unresolvable if events of the shard were detached, OSError."""
        files = RiderFiles(self._folder, shard)
        with SpoolWriter(files.rows) as rows:
            part = self._without_riders(rows) if shard == NO_RIDER else self._with_riders(shard, rows)
        write_whole(files.part, msgspec.json.encode(part))

    def _without_riders(self, rows: SpoolWriter) -> RiderPart:
        count = 0
        for seed in self._seeds_of(NO_RIDER):
            rows.add(self._chunk(seed), (seed, None))
            count += 1
        return RiderPart(0, [], count)

    def _with_riders(self, shard: int, rows: SpoolWriter) -> RiderPart:
        stream, archive = SPEED.stream, self._archive
        if self._last_seqs[shard] and not archive.shard_range(stream, shard, 0, 1, None):
            raise Unresolvable("log_begins_later", f"a part of the log with riders of shard {shard} was detached")
        waiting: defaultdict[str, list[Seed]] = defaultdict(list)
        for seed in self._seeds_of(shard):
            assert seed.rider_id is not None
            waiting[seed.rider_id].append(seed)
        counted = _Counted(self._on_events)
        changes, made = ChangeWriter(TRAFFIC_COLUMNS), 0
        walk = archive.walk(stream, None, shard, self._request.position, by_event_time=self._request.axis == "event")
        for rider_id, events in groupby(counted.of(walk), key=lambda timed: timed.event.key):
            seeds = sorted(waiting.pop(rider_id, []), key=_clock)
            length = len(changes)
            try:
                found = self._rider(events, seeds, changes, self._options)
            except UnencodableState:
                changes.rewind(length)
                again = archive.walk(
                    stream, [rider_id], shard, self._request.position, by_event_time=self._request.axis == "event"
                )
                found = self._rider(again, seeds, changes, self._options._replace(encode_each=True))
            for seed, rider in zip(seeds, found, strict=True):
                rows.add(self._chunk(seed), (seed, rider))
            made += len(seeds)
        # Orders name riders whose stream has no event up to the last position: nothing is known of them.
        for seed in (seed for of_rider in waiting.values() for seed in of_rider):
            rows.add(self._chunk(seed), (seed, None))
            made += 1
        counted.report()
        changes.write(RiderFiles(self._folder, shard).changes)
        return RiderPart(counted.events, sorted(counted.schema_ids), made)

    def _rider(
        self, events: Iterable[TimedEvent], seeds: Sequence[Seed], changes: ChangeWriter, options: FoldOptions
    ) -> list[bytes | None]:
        """The packed rider as of each of ``seeds``, which ascend by clock. Raises UnencodableState."""
        found: list[bytes | None] = []
        state, folded, wanted = RiderState(), 0, len(seeds)
        packed: tuple[RiderState, bytes | None] = (state, None)
        for clock, after, changed in self._followed(events, options, lambda: len(found) < wanted):
            while len(found) < wanted and seeds[len(found)].clock < clock:
                packed = _packed(state, packed)
                found.append(packed[1])
            state, folded = after, folded + 1
            if changed:
                changes.add(clock, changed)
            if folded % ENCODED_EVENTS == 0:
                _check(state)
        if len(found) < wanted:
            found += [_packed(state, packed)[1]] * (wanted - len(found))
        _check(state)
        return found

    def _followed(
        self, events: Iterable[TimedEvent], options: FoldOptions, wants_speed: Callable[[], bool]
    ) -> Iterator[Folded]:
        request = self._request
        if request.axis != "event":
            return follow_log(events, lambda timed: request.clock(timed, timed.event_ms), options, wants_speed)
        coming = iter(events)
        first = next(coming, None)
        if first is None:
            return iter(())
        rider_id = first.event.key
        timeline = EventTimeline(options, wants_speed(), lambda clock: self._happened(rider_id, clock))
        return follow_event_time(_chained(first, coming), timeline, options.decode)

    def _happened(self, rider_id: str, clock: int) -> Iterator[LoggedEvent]:
        happened = HappenedEvents(self._archive, self._options.decode)
        last = self._archive.last_version(SPEED.stream, rider_id, self._request.position)
        for after in range(0, last, ENCODED_EVENTS):
            upto = min(after + ENCODED_EVENTS, last)
            yield from happened.key_range(SPEED.stream, rider_id, after, upto, clock)

    def _seeds_of(self, group: int) -> Iterator[Seed]:
        for reader in self._seeds:
            yield from map(Seed._make, reader.read(group))

    def _chunk(self, seed: Seed) -> int:
        return bisect_right(self._bounds, seed.clock)


class _Counted:
    """Counts the events of a walk, and reports them at intervals."""

    def __init__(self, on_events: Callable[[int], None]) -> None:
        self.events = 0
        self.schema_ids: set[int] = set()
        self._reported = 0
        self._on_events = on_events

    def of(self, events: Iterable[TimedEvent]) -> Iterator[TimedEvent]:
        for timed in events:
            self.events += 1
            self.schema_ids.add(int.from_bytes(timed.event.payload[1:5]))
            if self.events - self._reported >= PROGRESS_EVENTS:
                self.report()
            yield timed

    def report(self) -> None:
        self._on_events(self.events - self._reported)
        self._reported = self.events


def _chained(first: TimedEvent, rest: Iterable[TimedEvent]) -> Iterator[TimedEvent]:
    yield first
    yield from rest


def _packed(state: RiderState, before: tuple[RiderState, bytes | None]) -> tuple[RiderState, bytes | None]:
    """The state with its packed rider; ``before`` is returned again for the same rider."""
    if before[0].speed is state.speed:
        return before
    try:
        # A state that the read model cannot encode parks its key, here as in live folding (invariant 10).
        state.encoded()
        return state, None if state.speed is None else pack_rider(state.speed)
    except Exception as error:
        raise UnencodableState from error


def _check(state: RiderState) -> None:
    try:
        if state.traffic is not None:
            TRAFFIC.encode(state.traffic)
        state.encoded()
    except Exception as error:
        raise UnencodableState from error
