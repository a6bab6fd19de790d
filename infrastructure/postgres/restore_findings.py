"""What was found that is not of this log, kept until a person has looked into it (invariant 14).

A worker mends by itself what it keeps; what a restore has lost, and what others have read meanwhile, it cannot mend.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.schema import restores

c = restores.c


class RestoreFinding(NamedTuple):
    """By whom and in words; ``beyond``: the highest position that is not of this log, ``head``: where that ended."""

    found_by: str
    words: str
    beyond: int
    head: int
    first_at: datetime | None = None


def record_finding(engine: Engine, found: RestoreFinding) -> None:
    """One row a finder: it keeps its first words, the highest position and the lowest end. Raises PortUnavailable."""
    row = insert(restores).values(found_by=found.found_by, words=found.words, beyond=found.beyond, head=found.head)
    new = row.excluded
    again = {
        "beyond": func.greatest(c.beyond, new.beyond),
        "head": func.least(c.head, new.head),
        "last_at": func.now(),
    }
    with unavailable_as_port_error(), engine.begin() as connection:
        connection.execute(row.on_conflict_do_update(index_elements=["found_by"], set_=again))


def read_findings(connection: Connection) -> list[RestoreFinding]:
    """All that nobody has looked into yet, by finder."""
    query = select(c.found_by, c.words, c.beyond, c.head, c.first_at).order_by(c.found_by)
    return [RestoreFinding(*row) for row in connection.execute(query)]


def accept_findings(engine: Engine) -> None:
    """A person has looked into it."""
    with unavailable_as_port_error(), engine.begin() as connection:
        connection.execute(delete(restores))
