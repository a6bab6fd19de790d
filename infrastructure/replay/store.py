"""The event store for commands that read it: a replay needs no other server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Engine

from domain.events.contracts import Codec
from infrastructure.backends import refuse_other_revision
from infrastructure.event_store.log_reader import PostgresLog
from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.schema_registry.client import schema_ids
from infrastructure.settings.settings import Settings
from projections.core.fences import digest_of
from projections.core.fold import Decode

NEEDS = ("postgres_url",)


class Store(NamedTuple):
    """Open connections, and the codec over the registry."""

    engine: Engine
    decode: Decode


@contextmanager
def open_store(settings: Settings) -> Iterator[Store]:
    """Raises UserError if the database is at another revision; PortUnavailable, RegistryUnavailable."""
    assert settings.postgres_url is not None
    refuse_other_revision(settings.postgres_url)
    engine = reader_engine(settings.postgres_url)
    try:
        with unavailable_as_port_error():
            decode = Codec(schema_ids(settings, engine)).decode
        yield Store(engine, decode)
    finally:
        engine.dispose()


def log_upto(settings: Settings, projection: str, position: int) -> dict[str, Any]:
    """What parts depend on beside the question and the code, and may have changed since older ones were made.

    ``last_event``: digest of the event at ``position``, "" if there is none: a log that was restored has another one
    there (invariant 14). ``discarded``: the positions up to there that the projection passes over (invariant 10).
    Raises as ``open_store``.
    """
    with open_store(settings) as store:
        log = PostgresLog(store.engine)
        last = "".join(digest_of(event) for event in log.events_at([position]).values())
        return {"last_event": last, "discarded": sorted(p for p in log.discarded(projection) if p <= position)}
