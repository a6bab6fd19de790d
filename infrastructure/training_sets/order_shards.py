"""First pass: the orders of one shard. Writes a seed for each row, the ends of orders, and their changes of the city.

A seed is a row's instant and the order as of then; the rider and the city are added by later passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import msgspec

from domain.identifiers import SHARDS, shard_of
from infrastructure.backends import Backends
from infrastructure.replay.whole_files import write_whole
from infrastructure.training_sets.city_changes import ORDER_COLUMNS, ChangeWriter
from infrastructure.training_sets.eta_request import (
    AT_EVENTS,
    EVERY,
    INSTANTS,
    MAX_LIFE_MS,
    SERVED,
    STEP_TYPES,
    EtaRequest,
)
from infrastructure.training_sets.log_clock import LogClock
from infrastructure.training_sets.order_life import OrderLife
from infrastructure.training_sets.spool import SpoolReader, SpoolWriter
from projections.core.fold import Decode
from projections.orders import ORDERS
from projections.replay.archive import Archive, TimedEvent
from projections.replay.as_of import Unresolvable

NO_RIDER = SHARDS
"""The group of seeds whose order has no rider."""
PROGRESS_EVENTS = 2_000


class Skipped(msgspec.Struct):
    """Instants without a row. ``unknown``: the order was not known; ``over``: it had ended; ``late``: after the last
    instant of the set; ``untimed``: a step of an imported order whose time is not known, so it has no instant."""

    unknown: int = 0
    over: int = 0
    late: int = 0
    untimed: int = 0


class OrderPart(msgspec.Struct, frozen=True):
    """Result of one shard; written when its files are complete. ``clocks``: of all its seeds, unsorted."""

    events: int
    schema_ids: list[int]
    seeds: int
    skipped: Skipped


class Instant(NamedTuple):
    """One row's instant: its place on the clock, the clock reading, and the last position of the log that counts."""

    clock: int
    at_ms: int
    position: int


class Seed(NamedTuple):
    """A row before its rider and the city are known. ``order``: the encoded state."""

    rider_id: str | None
    clock: int
    at_ms: int
    position: int
    order_id: str
    order: bytes


class OrderFiles(NamedTuple):
    """The files of one shard in a folder."""

    folder: Path
    shard: int

    @property
    def part(self) -> Path:
        return self.folder / f"orders-{self.shard:02d}.json"

    @property
    def seeds(self) -> Path:
        """Spool by the shard of the rider."""
        return self.folder / f"seeds-{self.shard:02d}.spool"

    @property
    def ends(self) -> Path:
        """Spool of (order id, OrderLabel)."""
        return self.folder / f"ends-{self.shard:02d}.spool"

    @property
    def changes(self) -> Path:
        return self.folder / f"order-changes-{self.shard:02d}.bin"

    @property
    def instants(self) -> Path:
        """Spool of (order id, time or position), for a rule of kind instants."""
        return self.folder / f"instants-{self.shard:02d}.spool"


class Instants:
    """The instants that a rule names in the life of one order."""

    def __init__(self, request: EtaRequest, clock: LogClock | None, named: dict[str, list[int]]) -> None:
        """``clock`` is needed except on the axis event. ``named``: times or positions by order, of a file."""
        self._request = request
        self._clock = clock
        self.named = named
        """What is not made yet, of a rule of kind instants; the orders of served answers."""
        self._types = {STEP_TYPES[name] for name in request.rule.events}
        self.skipped = Skipped()

    def of(self, life: OrderLife) -> Iterator[Instant]:
        """Ascending for a rule of kind every or at_events; those of a file in its order. Repeats are left out."""
        kind, seen = self._request.rule.kind, set[Instant]()
        found = (
            self._every(life) if kind == EVERY else self._at_events(life) if kind == AT_EVENTS else self._of_file(life)
        )
        for instant in found:
            if instant not in seen:
                seen.add(instant)
                yield instant

    def _every(self, life: OrderLife) -> Iterator[Instant]:
        start = next((one for one in life.steps if one.timed.event.event_type == "DeliveryPlaced"), None)
        if start is None:
            return
        start_ms = start.effective_ms if self._request.axis == "event" else start.timed.recorded_ms
        for at_ms in range(
            start_ms, min(start_ms + MAX_LIFE_MS, self._request.last_ms) + 1, self._request.rule.every_ms
        ):
            instant = self._at_time(at_ms)
            if life.is_over_at(instant.clock):
                return
            yield instant

    def _at_events(self, life: OrderLife) -> Iterator[Instant]:
        for step in life.steps:
            if step.timed.event.event_type in self._types:
                if life.is_untimed(step):
                    self.skipped.untimed += 1
                elif self._request.axis == "position":
                    yield Instant(step.clock, step.timed.recorded_ms, step.timed.event.position)
                else:
                    yield self._at_time(step.clock)

    def _of_file(self, life: OrderLife) -> Iterator[Instant]:
        for number in self.named.get(life.order_id, ()):
            if self._request.axis != "position":
                yield self._at_time(number)
                continue
            recorded_ms = None if self._clock is None else self._clock.recorded_ms(number)
            if recorded_ms is None or number > self._request.position:
                self.skipped.late += 1
            else:
                yield Instant(number, recorded_ms, number)

    def _at_time(self, at_ms: int) -> Instant:
        if self._request.axis == "event" or self._clock is None:
            return Instant(at_ms, at_ms, self._request.position)
        position = self._clock.position_by(at_ms)
        if self._request.axis == "known":
            return Instant(at_ms, at_ms, position)
        return Instant(position, self._clock.recorded_ms(position) or at_ms, position)


class OrderSource(NamedTuple):
    """What the orders of all shards are read from. ``discarded``: positions; ``last_seqs``: of the log's head."""

    archive: Archive
    decode: Decode
    discarded: frozenset[int]
    last_seqs: Sequence[int]


def order_source(backends: Backends) -> OrderSource:
    """Raises PortUnavailable, RegistryUnavailable."""
    archive = backends.archive
    return OrderSource(archive, backends.decode, archive.discarded(ORDERS.name), archive.head(ORDERS.stream).seqs)


def make_order_part(
    source: OrderSource,
    request: EtaRequest,
    files: OrderFiles,
    instants: Instants,
    on_events: Callable[[int], None],
) -> None:
    """Write the files of one shard. Raises Unresolvable if events of the shard were detached, OSError."""
    archive, decode, discarded, last_seqs = source
    if last_seqs[files.shard] and not archive.shard_range(ORDERS.stream, files.shard, 0, 1, None):
        raise Unresolvable("log_begins_later", f"a part of the log with orders of shard {files.shard} was detached")
    keys = sorted(instants.named) if request.rule.kind == SERVED else None
    changes = ChangeWriter(ORDER_COLUMNS)
    counts, schema_ids, seeds = 0, set[int](), 0
    walk = archive.walk(ORDERS.stream, keys, files.shard, request.position, by_event_time=False)
    with SpoolWriter(files.seeds) as seed_file, SpoolWriter(files.ends) as end_file:
        unreported = 0
        for order_id, of_order in groupby(walk, key=lambda timed: timed.event.key):
            events: list[TimedEvent] = list(of_order)
            counts, unreported = counts + len(events), unreported + len(events)
            schema_ids.update(int.from_bytes(one.event.payload[1:5]) for one in events)
            life = OrderLife(request, events, decode, discarded)
            end = life.end()
            for at, changed in life.changes:
                changes.add(at, changed)
            made = 0
            for instant in () if request.rule.kind == SERVED else instants.of(life):
                seed = _seed(life, instant, request, instants.skipped)
                if seed is not None:
                    made += 1
                    seed_file.add(NO_RIDER if seed.rider_id is None else shard_of(seed.rider_id), seed)
            seeds += made
            if end is not None and (made or request.rule.kind == SERVED):
                end_file.add(0, (order_id, end))
            instants.named.pop(order_id, None)
            if unreported >= PROGRESS_EVENTS:
                on_events(unreported)
                unreported = 0
        on_events(unreported)
    if request.rule.kind == INSTANTS:
        instants.skipped.unknown += sum(len(one) for one in instants.named.values())
    changes.write(files.changes)
    part = OrderPart(counts, sorted(schema_ids), seeds, instants.skipped)
    write_whole(files.part, msgspec.json.encode(part))


def _seed(life: OrderLife, instant: Instant, request: EtaRequest, skipped: Skipped) -> Seed | None:
    clock, at_ms, position = instant
    if at_ms > request.last_ms:
        skipped.late += 1
        return None
    state = life.state_at(clock)
    if state is None:
        if life.is_over_at(clock):
            skipped.over += 1
        else:
            skipped.unknown += 1
        return None
    return Seed(state.rider_id, clock, at_ms, position, life.order_id, ORDERS.encode(state))


def named_instants(path: Path) -> dict[str, list[int]]:
    """Times or positions by order, of a spool with (order id, number). Raises OSError."""
    found: dict[str, list[int]] = {}
    for order_id, number in SpoolReader(path).read(0):
        found.setdefault(order_id, []).append(number)
    return found
