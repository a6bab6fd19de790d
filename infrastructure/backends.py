"""What a command that folds needs of the servers, opened for as long as it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Engine

from domain.events.contracts import Codec
from infrastructure.errors import UserError
from infrastructure.event_store.log_reader import PostgresLog
from infrastructure.postgres import migrations
from infrastructure.postgres.engine import reader_engine, sink_engine
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.redis.connection import check_never_evicts, connect
from infrastructure.schema_registry.client import schema_ids
from infrastructure.settings.settings import Settings
from infrastructure.sinks.factory import Stores
from projections.catalogue import PROJECTIONS
from projections.core.fold import Decode
from projections.core.projection import Projection

NEEDS = ("postgres_url", "redis_url")
"""Settings of the servers that folding needs; Kafka is not one of them."""


class World(NamedTuple):
    """Open connections and the ports on them."""

    engine: Engine
    stores: Stores
    log: PostgresLog
    generations: PostgresGenerations
    decode: Decode


@contextmanager
def open_world(settings: Settings) -> Iterator[World]:
    """Raises UserError if the database is at another revision; PortUnavailable, RegistryUnavailable, EvictingRedis,
    Incompatible."""
    assert settings.postgres_url is not None
    assert settings.redis_url is not None
    refuse_other_revision(settings.postgres_url)
    client = connect(settings.redis_url)
    engine, sinks = reader_engine(settings.postgres_url), sink_engine(settings.postgres_url)
    try:
        check_never_evicts(client)
        with unavailable_as_port_error():
            decode = Codec(schema_ids(settings, engine)).decode
        yield World(engine, Stores(sinks, client), PostgresLog(engine), PostgresGenerations(engine), decode)
    finally:
        client.close()
        sinks.dispose()
        engine.dispose()


def refuse_other_revision(postgres_url: str) -> None:
    """Raises UserError unless the database is at this code's revision."""
    with unavailable_as_port_error():
        revision = migrations.revision(postgres_url)
    if not revision.is_current:
        raise UserError(
            f"the database is at revision {revision.current or 'none'}, this code needs {revision.needed}: "
            "run `python app.py migrate`"
        )


def projection_named(name: str) -> Projection[Any]:
    """Raises UserError for a name that the catalogue has not."""
    if name not in PROJECTIONS:
        raise UserError(f"there is no projection {name!r}; there are: {', '.join(PROJECTIONS)}")
    return PROJECTIONS[name]
