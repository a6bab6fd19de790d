"""Records data that does not match the log, until an operator accepts the findings (invariant 14).

A worker repairs its own data. It cannot repair what the restore lost, or what clients have already read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.schema import restores

c = restores.c


class RestoreFinding(NamedTuple):
    """What ``found_by`` found, with its message in ``words``.

    ``beyond``: the highest position found that is not in this log. ``head``: the end of the log at that time.
    """

    found_by: str
    words: str
    beyond: int
    head: int
    first_at: datetime | None = None
    last_at: datetime | None = None


def record_finding(engine: Engine, found: RestoreFinding) -> None:
    """Records a finding. The row of a finder keeps its first message, the highest position and the lowest end.

    Raises PortUnavailable.
    """
    row = insert(restores).values(found_by=found.found_by, words=found.words, beyond=found.beyond, head=found.head)
    new = row.excluded
    on_repeat = {
        "beyond": func.greatest(c.beyond, new.beyond),
        "head": func.least(c.head, new.head),
        "last_at": func.now(),
    }
    with unavailable_as_port_error(), engine.begin() as connection:
        connection.execute(row.on_conflict_do_update(index_elements=["found_by"], set_=on_repeat))


def read_findings(connection: Connection) -> list[RestoreFinding]:
    """Returns all findings that are not accepted yet, by finder."""
    query = select(c.found_by, c.words, c.beyond, c.head, c.first_at, c.last_at).order_by(c.found_by)
    return [RestoreFinding(*row) for row in connection.execute(query)]


def accept_findings(engine: Engine, seen: Sequence[RestoreFinding]) -> None:
    """Deletes the findings that an operator has examined, as ``read_findings`` gave them. Raises PortUnavailable.

    One that was found, or found again, since then stays: no operator has seen it.
    """
    examined = [(one.found_by, one.beyond, one.head, one.last_at) for one in seen]
    with unavailable_as_port_error(), engine.begin() as connection:
        connection.execute(delete(restores).where(tuple_(c.found_by, c.beyond, c.head, c.last_at).in_(examined)))
