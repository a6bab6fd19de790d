"""Answers HTTP requests about the past, from the log: single keys and analytics rows; bounded, safe to share."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import Engine

from domain.identifiers import SHARDS
from domain.timestamps import utc_datetime
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.postgres.snapshots import PostgresStateSnapshots
from projections.analytics import ANALYTICS
from projections.core.fold import Decode
from projections.core.projection import Projection
from projections.replay.as_of import AsOf, Horizon
from projections.replay.key_replay import KeyReplay, Replayed, TooLong
from projections.replay.shard_replay import replay_shard
from projections.replay.source import ReplaySource
from read_models.analytics.in_memory import AnalyticsRows
from read_models.outcomes.in_memory import OutcomeRows
from read_models.rows import Rows, merge_into

S = TypeVar("S")


class PastReads(NamedTuple, Generic[S]):
    """State of a key in the past; ``found`` None: none of its events counts within the horizon."""

    horizon: Horizon
    found: Replayed[S] | None


class PastKeys(Generic[S]):
    """Reads single keys. Blocks: call it in a thread.

    ``max_events``: events that one answer may fold; with snapshots it folds far fewer.
    """

    def __init__(self, engine: Engine, projection: Projection[S], decode: Decode, max_events: int | None) -> None:
        self._archive = PostgresArchive(engine)
        snapshots = PostgresStateSnapshots(engine, projection)
        self._replay = KeyReplay(ReplaySource(projection, self._archive, decode), snapshots, max_events=max_events)

    def at(self, key: str, as_of: AsOf) -> PastReads[S]:
        """Raises Unresolvable, TooLong, PortUnavailable."""
        horizon = self._archive.horizon(as_of)
        return PastReads(horizon, self._replay.at(key, horizon))


AnyPastKeys = PastKeys[Any]

MAX_CONCURRENT_REPLAYS = 1
"""Folding blocks the interpreter for other requests, so that replays of all keys wait for each other."""

_REPLAYS = threading.Semaphore(MAX_CONCURRENT_REPLAYS)


class RowsThen(NamedTuple):
    """All rows of a projection within a horizon, and the last seq folded, by shard that has events."""

    rows: Rows
    horizon: Horizon
    fences: dict[str, int]


class RowReplay:
    """Folds the rows of a projection from the log. ``max_events``: that one answer may fold. Blocks."""

    def __init__(self, engine: Engine, decode: Decode, max_events: int, projection: Projection[Any]) -> None:
        self._archive = PostgresArchive(engine)
        self._source = ReplaySource(projection, self._archive, decode)
        self._max_events = max_events

    def at(self, as_of: AsOf) -> RowsThen:
        """All rows. Raises Unresolvable, TooLong, PortUnavailable."""
        horizon = self._archive.horizon(as_of)
        if horizon.position > self._max_events:
            raise TooLong(f"{horizon.position:,} events would have to be folded, {self._max_events:,} are allowed")
        rows: Rows = {}
        fences: dict[str, int] = {}
        with _REPLAYS:
            for shard in range(SHARDS):
                found = replay_shard(self._source, shard, horizon)
                merge_into(rows, found.rows)
                if found.seq:
                    fences[str(shard)] = found.seq
        return RowsThen(rows, horizon, fences)

    def of_key(self, key: str, as_of: AsOf) -> RowsThen:
        """The rows of one key; the log may be of any length. Raises Unresolvable, TooLong, PortUnavailable."""
        horizon = self._archive.horizon(as_of)
        replay = KeyReplay(self._source, max_events=self._max_events)
        with _REPLAYS:
            found = replay.at(key, horizon)
        rows: Rows = {}
        merge_into(rows, [] if found is None else found.rows)
        return RowsThen(rows, horizon, {})


class PastRows:
    """Analytics rows of the past. ``max_events``: that one answer may fold. Blocks: call it in a thread."""

    def __init__(self, engine: Engine, decode: Decode, max_events: int) -> None:
        self._replay = RowReplay(engine, decode, max_events, ANALYTICS)

    def at(self, as_of: AsOf) -> PastAnalyticsReader:
        """All rows. Raises Unresolvable, TooLong, PortUnavailable."""
        return PastAnalyticsReader(self._replay.at(as_of))

    def of_rider(self, rider_id: str, as_of: AsOf) -> PastAnalyticsReader:
        """The rows of one rider; the log may be of any length. Raises Unresolvable, TooLong, PortUnavailable."""
        return PastAnalyticsReader(self._replay.of_key(rider_id, as_of))


class PlacedThen:
    """Which instant rows of the past are of."""

    def __init__(self, then: RowsThen) -> None:
        self._then = then

    def moment(self) -> datetime:
        """The requested instant; for a position, the time when its event was recorded."""
        return utc_datetime(self._then.horizon.at_ms)

    def place(self) -> dict[str, Any]:
        """No generation: this code's fold made the rows, up to ``position``."""
        return {"generation": None, "position": self._then.horizon.position}

    def fences(self) -> dict[str, int]:
        """Last seq folded, by shard."""
        return self._then.fences


class PastAnalyticsReader(AnalyticsRows, PlacedThen):
    """Analytics rows with the position in the log up to which they were folded."""

    def __init__(self, then: RowsThen) -> None:
        AnalyticsRows.__init__(self, then.rows.values())
        PlacedThen.__init__(self, then)


class PastOutcomes(OutcomeRows, PlacedThen):
    """Outcome rows with the position in the log up to which they were folded."""

    def __init__(self, then: RowsThen) -> None:
        OutcomeRows.__init__(self, then.rows.values())
        PlacedThen.__init__(self, then)
