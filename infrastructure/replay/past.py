"""Single keys of a projection as of an instant, for those who ask over HTTP: bounded, and safe to share."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import Engine

from infrastructure.event_store.archive import PostgresArchive
from infrastructure.event_store.checkpoints import PostgresCheckpoints
from projections.folding import Decode
from projections.protocol import Projection
from projections.replay.as_of import AsOf, Horizon
from projections.replay.key import KeyReplay, Replayed

S = TypeVar("S")


class Past(NamedTuple, Generic[S]):
    """What a key was; ``found`` None: nothing of it counts within the horizon."""

    horizon: Horizon
    found: Replayed[S] | None


class PastKeys(Generic[S]):
    """``most``: events that one answer may fold; checkpoints keep it far below. Blocks: call it in a thread."""

    def __init__(self, engine: Engine, projection: Projection[S], decode: Decode, most: int | None) -> None:
        self._archive = PostgresArchive(engine)
        checkpoints = PostgresCheckpoints(engine, projection)
        self._replay = KeyReplay(projection, self._archive, checkpoints, decode, most=most)

    def at(self, key: str, as_of: AsOf) -> Past[S]:
        """Raises Unresolvable, TooLong, PortUnavailable."""
        horizon = self._archive.horizon(as_of)
        return Past(horizon, self._replay.at(key, horizon))


AnyPastKeys = PastKeys[Any]
