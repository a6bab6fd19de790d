"""Records which events an operator discarded, and why. A discard is permanent."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert

from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.schema import discarded_events

c = discarded_events.c


class Discard(NamedTuple):
    """One event that every fold of the projection skips."""

    projection: str
    position: int
    key: str
    who: str
    why: str
    discarded_at: datetime | None = None


def record_discard(engine: Engine, discard: Discard) -> None:
    """Records a discard once. A second discard of the same event changes nothing. Raises PortUnavailable."""
    values = discard._asdict()
    del values["discarded_at"]
    with unavailable_as_port_error(), engine.begin() as connection:
        connection.execute(insert(discarded_events).values(**values).on_conflict_do_nothing())


def discards(engine: Engine, projection: str | None = None) -> list[Discard]:
    """Returns all discards, or those of one projection, by projection and position. Raises PortUnavailable."""
    query = select(c.projection, c.position, c.key, c.who, c.why, c.discarded_at).order_by(c.projection, c.position)
    if projection is not None:
        query = query.where(c.projection == projection)
    with unavailable_as_port_error(), engine.connect() as connection:
        return [Discard(*row) for row in connection.execute(query)]
