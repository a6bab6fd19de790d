"""Replays all keys, shard by shard from the beginning; memory holds the states and rows of one shard at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from domain.features.partials import PartialTable, apply_changes
from projections.core.fold import NO_SNAPSHOTS, Fold
from projections.core.ports import ParkedEvent
from projections.replay.as_of import Horizon, Unresolvable, upto
from projections.replay.event_axis import HappenedEvents
from projections.replay.source import ReplaySource
from read_models.rows import RowChange, Rows, merge_into

S = TypeVar("S")

CHUNK_SEQS = 5_000
"""Seqs read at once. Bounds the memory of a shard's replay in addition to its states."""


class ShardReplayed(NamedTuple, Generic[S]):
    """All keys of one shard as of a horizon. ``events``: the number folded; ``seq``: that of the last one.

    ``partials``: the partial table of the shard, of a projection that has one.
    """

    shard: int
    states: dict[str, S]
    rows: list[RowChange]
    parked: dict[str, ParkedEvent]
    events: int
    seq: int
    partials: PartialTable


def replay_shard(
    source: ReplaySource[S],
    shard: int,
    horizon: Horizon,
    *,
    upto_seq: int | None = None,
    on_chunk: Callable[[int], None] = lambda events: None,
) -> ShardReplayed[S]:
    """Fold the shard's events within ``horizon``, up to ``upto_seq``. ``on_chunk`` gets the event count of each chunk.

    Raises Unresolvable if the beginning of the shard was detached; AmountTooLarge.
    """
    projection, archive = source.projection, source.archive
    head = archive.head(projection.stream)
    last = head.seqs[shard] if upto_seq is None else min(upto_seq, head.seqs[shard])
    if last and not archive.shard_range(projection.stream, shard, 0, 1, None):
        raise Unresolvable("log_begins_later", f"a part of the log with events of shard {shard} was detached")
    happened = HappenedEvents(archive, source.decode)
    fold = Fold(projection, happened.decode, lambda: horizon.at_ms, NO_SNAPSHOTS)
    discarded = archive.discarded(projection.name)
    found: ShardReplayed[S] = ShardReplayed(shard, {}, [], {}, 0, 0, {})
    rows: Rows = {}
    events, seq = 0, 0
    for after in range(0, last, CHUNK_SEQS):
        chunk = happened.shard_range(
            projection.stream, shard, after, min(after + CHUNK_SEQS, last), horizon.happened_by_ms
        )
        within, cut = upto(chunk, horizon.position)
        done = fold.run(within, found.states.get, found.parked, discarded)
        found.states.update(done.states)
        found.parked.update(done.parked)
        merge_into(rows, done.rows)
        apply_changes(found.partials, done.partials)
        events += len(within)
        seq = within[-1].seq if within else seq
        on_chunk(len(within))
        if cut:
            break
    return found._replace(rows=list(rows.values()), events=events, seq=seq)
