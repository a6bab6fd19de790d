"""Parked keys of every generation that this code keeps up to date."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from domain.identifiers import SHARDS, shard_of
from infrastructure.backends import Backends
from infrastructure.errors import UserError
from infrastructure.postgres.discards import Discard, record_discard
from infrastructure.postgres.snapshots import forget_from
from infrastructure.timestamps import now_ms
from projections.core.parked_keys import ParkedKeys, RetryOutcome
from projections.core.ports import LoggedEvent, ParkedEvent
from projections.core.projection import Projection
from projections.rebuild.generations import active, is_kept_up


class ParkedKeyDetails(NamedTuple):
    """One key of one generation, and the event at which it is held back."""

    projection: str
    generation: int
    key: str
    mark: ParkedEvent


def parked_keys(backends: Backends, projection: Projection[Any]) -> Iterator[ParkedKeyDetails]:
    """By generation and key; also of generations that another fold keeps."""
    for generation in backends.generations.all(projection.name):
        found = backends.stores.sink(projection, generation.number).parked(range(SHARDS))
        merged = {key: mark for marks in found.values() for key, mark in marks.items()}
        for key, mark in sorted(merged.items()):
            yield ParkedKeyDetails(projection.name, generation.number, key, mark)


def waiting_events(backends: Backends, projection: Projection[Any], one: ParkedKeyDetails) -> list[LoggedEvent]:
    """The key's events from the failing one up to the shard's fence: what a retry will fold."""
    shard = shard_of(one.key)
    fence = backends.stores.sink(projection, one.generation).fences([shard])[0]
    return [] if fence is None else backends.log.read_key(projection.stream, one.key, one.mark.version, fence.seq)


def retry(backends: Backends, projection: Projection[Any], key: str) -> dict[int, RetryOutcome]:
    """Generation -> what became of the key there. Raises UserError if it is parked in none."""
    done = {
        generation.number: ParkedKeys(
            projection,
            backends.stores.sink(projection, generation.number),
            backends.log,
            backends.decode,
            now_ms,
        ).retry(key)
        for generation in backends.generations.all(projection.name)
        if is_kept_up(generation, projection)
    }
    found = {number: result for number, result in done.items() if result.verdict != "none"}
    if not found:
        raise UserError(f"{key!r} is not parked in a generation of {projection.name} that this code may write to")
    return found


def retriable(backends: Backends, projection: Projection[Any]) -> list[str]:
    """Keys that are parked in a generation that this code may write to."""
    mine = {g.number for g in backends.generations.all(projection.name) if is_kept_up(g, projection)}
    return sorted({one.key for one in parked_keys(backends, projection) if one.generation in mine})


def discard(backends: Backends, projection: Projection[Any], key: str, who: str, why: str) -> dict[int, RetryOutcome]:
    """Pass over the event at which ``key`` is held back, for good, and fold on. Raises UserError."""
    positions = {one.generation: one.mark.position for one in parked_keys(backends, projection) if one.key == key}
    if not positions:
        raise UserError(f"{key!r} is not parked in {projection.name}: see `parked list`")
    live = active(backends.generations.all(projection.name))
    # Before the fact is recorded, for good: what the served generation has folded would be missing in every rebuild.
    if live is None or live.number not in positions:
        raise UserError(
            f"{key!r} is not parked in the generation of {projection.name} that is served: it has folded the event. "
            "Mend the fold of the other generation instead"
        )
    if not is_kept_up(live, projection):
        raise UserError(f"the served generation of {projection.name} is kept by other code: discard with that code")
    # Where generations fail at different events, the one that is served decides; the other stays parked.
    position = positions[live.number]
    # The fact first: a retry that is broken off finds it again, and so does every rebuild.
    record_discard(backends.engine, Discard(projection.name, position, key, who, why))
    # Another fold may have folded that event, and kept states on the way.
    forget_from(backends.engine, projection, key, position)
    return retry(backends, projection, key)
