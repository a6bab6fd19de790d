"""Lists, retries and discards parked keys, for the command ``parked``."""

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
    """A parked key of one generation. ``mark``, a key of the JSON output: the event at which it is parked."""

    projection: str
    generation: int
    key: str
    mark: ParkedEvent


def parked_keys(backends: Backends, projection: Projection[Any]) -> Iterator[ParkedKeyDetails]:
    """All parked keys, by generation and key; also of generations of another fold."""
    for generation in backends.generations.all(projection.name):
        found = backends.stores.sink(projection, generation.number).parked(range(SHARDS))
        merged = {key: event for events in found.values() for key, event in events.items()}
        for key, event in sorted(merged.items()):
            yield ParkedKeyDetails(projection.name, generation.number, key, event)


def waiting_events(backends: Backends, projection: Projection[Any], one: ParkedKeyDetails) -> list[LoggedEvent]:
    """The key's events from the failing one up to the shard's fence, which a retry will fold."""
    shard = shard_of(one.key)
    fence = backends.stores.sink(projection, one.generation).fences([shard])[0]
    return [] if fence is None else backends.log.read_key(projection.stream, one.key, one.mark.version, fence.seq)


def retry(backends: Backends, projection: Projection[Any], key: str) -> dict[int, RetryOutcome]:
    """Retry the key in each generation of this fold, and return the outcome by generation.

    Raises UserError if the key is parked in none of them.
    """
    outcomes = {
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
    found = {number: result for number, result in outcomes.items() if result.verdict != "none"}
    if not found:
        raise UserError(f"{key!r} is not parked in a generation of {projection.name} that this code may write to")
    return found


def retriable(backends: Backends, projection: Projection[Any]) -> list[str]:
    """Keys that are parked in a generation of this code's fold, which it may write to."""
    writable = {g.number for g in backends.generations.all(projection.name) if is_kept_up(g, projection)}
    return sorted({one.key for one in parked_keys(backends, projection) if one.generation in writable})


def discard(backends: Backends, projection: Projection[Any], key: str, who: str, why: str) -> dict[int, RetryOutcome]:
    """Skip the event at which ``key`` is parked, permanently, and resume the key. Raises UserError."""
    positions = {one.generation: one.mark.position for one in parked_keys(backends, projection) if one.key == key}
    if not positions:
        raise UserError(f"{key!r} is not parked in {projection.name}: see `parked list`")
    live = active(backends.generations.all(projection.name))
    # Check before the discard is recorded, because it is permanent: if the served generation has folded the event, its
    # effect would be missing from every rebuild.
    if live is None or live.number not in positions:
        raise UserError(
            f"{key!r} is not parked in the generation of {projection.name} that is served: it has folded the event. "
            "Repair the fold of the other generation instead"
        )
    if not is_kept_up(live, projection):
        raise UserError(
            f"the served generation of {projection.name} has the fold of other code: discard with that code"
        )
    # If generations fail at different events, the served one decides; the key stays parked in the other.
    position = positions[live.number]
    # Record the discard first: an aborted retry finds it again, and so does every rebuild.
    record_discard(backends.engine, Discard(projection.name, position, key, who, why))
    # Another fold may have folded the event, and stored snapshots after it.
    forget_from(backends.engine, projection, key, position)
    return retry(backends, projection, key)
