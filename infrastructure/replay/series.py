"""One key along time on either axis, from the event store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from domain.identifiers import shard_of
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.event_store.checkpoints import PostgresCheckpoints
from infrastructure.replay.store import Store
from projections.folding import UNREACHED, Fold
from projections.ports import Parked
from projections.protocol import Projection
from projections.replay.archive import TimedEvent
from projections.replay.as_of import Horizon
from projections.replay.history import happened_states, known_states
from projections.replay.key import KeyReplay
from read_models.view import Limits


def states_of(
    store: Store,
    projection: Projection[Any],
    key: str,
    events: Iterable[TimedEvent],
    horizon: Horizon,
    ticks: range,
    discarded: frozenset[int],
    whole: bool,
) -> Iterator[tuple[int, Any]]:
    """(tick, state) from the first tick at which there is one. ``events``: all of the key, as a walk on this axis
    gives them; on the axis position by the time of their recording. ``whole``: it is known that none was detached.
    Raises Unresolvable."""
    archive, checkpoints = PostgresArchive(store.engine), PostgresCheckpoints(store.engine, projection)
    replay = KeyReplay(projection, archive, checkpoints, store.decode)
    if not whole:
        replay.refuse_detached(key, horizon)
    fold = Fold(projection, store.decode, lambda: horizon.at_ms, UNREACHED)
    if horizon.happened_by_ms is None:
        return known_states(fold, key, events, ticks, discarded)

    def from_log(tick: int) -> tuple[Any, Parked | None]:
        found = replay.at(key, horizon._replace(happened_by_ms=tick, at_ms=tick))
        return (None, None) if found is None else (found.state, found.parked)

    return happened_states(fold, key, events, ticks, discarded, from_log)


def column_along(
    store: Store, projection: Projection[Any], key: str, horizon: Horizon, ticks: range, column: str, limits: Limits
) -> tuple[list[int], list[float | None]]:
    """Ticks (epoch ms) and the column's values there."""
    view = projection.view
    assert view is not None
    archive = PostgresArchive(store.engine)
    by_event_time = horizon.happened_by_ms is not None
    walk = archive.walk(projection.stream, [key], shard_of(key), horizon.position, by_event_time=by_event_time)
    discarded = archive.discarded(projection.name)
    times: list[int] = []
    values: list[float | None] = []
    state, features = None, None
    for tick, now in states_of(store, projection, key, walk, horizon, ticks, discarded, whole=False):
        if now is not state:
            state, features = now, view.features(now)
        times.append(tick)
        values.append(view.row(key, features, tick, limits, False)[column])
    return times, values
