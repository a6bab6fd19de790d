"""Single keys of a projection as of an instant, for those who ask over HTTP: bounded, and safe to share."""

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
from projections.core.snapshots import NoSnapshots
from projections.replay.as_of import AsOf, Horizon
from projections.replay.key_replay import KeyReplay, Replayed, TooLong
from projections.replay.shard_replay import replay_shard
from read_models.analytics.in_memory import AnalyticsRows
from read_models.rows import Rows, merge_into

S = TypeVar("S")


class PastReads(NamedTuple, Generic[S]):
    """What a key was; ``found`` None: nothing of it counts within the horizon."""

    horizon: Horizon
    found: Replayed[S] | None


class PastKeys(Generic[S]):
    """``most``: events that one answer may fold; checkpoints keep it far below. Blocks: call it in a thread."""

    def __init__(self, engine: Engine, projection: Projection[S], decode: Decode, most: int | None) -> None:
        self._archive = PostgresArchive(engine)
        checkpoints = PostgresStateSnapshots(engine, projection)
        self._replay = KeyReplay(projection, self._archive, checkpoints, decode, max_events=most)

    def at(self, key: str, as_of: AsOf) -> PastReads[S]:
        """Raises Unresolvable, TooLong, PortUnavailable."""
        horizon = self._archive.horizon(as_of)
        return PastReads(horizon, self._replay.at(key, horizon))


AnyPastKeys = PastKeys[Any]

AT_ONCE = 1
"""Folding takes the interpreter from the requests beside it: whoever asks for the past of all waits for the others."""


class PastRows:
    """``most``: events that one answer may fold. Blocks: call it in a thread."""

    def __init__(self, engine: Engine, decode: Decode, most: int) -> None:
        self._archive = PostgresArchive(engine)
        self._decode = decode
        self._most = most
        self._turn = threading.Semaphore(AT_ONCE)

    def at(self, as_of: AsOf) -> PastAnalyticsReader:
        """All rows. Raises Unresolvable, TooLong, PortUnavailable."""
        horizon = self._archive.horizon(as_of)
        if horizon.position > self._most:
            raise TooLong(f"{horizon.position:,} events would have to be folded, {self._most:,} are allowed")
        rows: Rows = {}
        fences: dict[str, int] = {}
        with self._turn:
            for shard in range(SHARDS):
                found = replay_shard(ANALYTICS, self._archive, self._decode, shard, horizon)
                merge_into(rows, found.rows)
                if found.seq:
                    fences[str(shard)] = found.seq
        return PastAnalyticsReader(rows, horizon, fences)

    def of_rider(self, rider_id: str, as_of: AsOf) -> PastAnalyticsReader:
        """The rows of one rider; the log may be of any length. Raises Unresolvable, TooLong, PortUnavailable."""
        horizon = self._archive.horizon(as_of)
        replay = KeyReplay(ANALYTICS, self._archive, NoSnapshots(), self._decode, max_events=self._most)
        with self._turn:
            found = replay.at(rider_id, horizon)
        rows: Rows = {}
        merge_into(rows, [] if found is None else found.rows)
        return PastAnalyticsReader(rows, horizon, {})


class PastAnalyticsReader(AnalyticsRows):
    """Rows with the place in the log up to which they were folded."""

    def __init__(self, rows: Rows, horizon: Horizon, fences: dict[str, int]) -> None:
        super().__init__(rows.values())
        self._horizon = horizon
        self._fences = fences

    def moment(self) -> datetime:
        """The instant that was asked about; of a position, when the event there was recorded."""
        return utc_datetime(self._horizon.at_ms)

    def place(self) -> dict[str, Any]:
        """No generation wrote these: they are of this code's fold, up to ``position``."""
        return {"generation": None, "position": self._horizon.position}

    def fences(self) -> dict[str, int]:
        return self._fences
