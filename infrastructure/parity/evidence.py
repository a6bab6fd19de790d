"""What the check of served reads needs of the servers: Postgres alone, and the registry where it is not ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Engine

from domain.contracts import Codec
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.event_store.checkpoints import PostgresCheckpoints
from infrastructure.event_store.engine import reader_engine
from infrastructure.event_store.errors import unavailable_as_port_error
from infrastructure.event_store.served_reads import PostgresServedReads
from infrastructure.rebuild.world import refuse_other_revision
from infrastructure.registry.connect import schema_ids
from infrastructure.settings import Settings
from projections.parity.audit import Audit
from projections.protocol import Projection

NEEDS = ("postgres_url",)


class Evidence(NamedTuple):
    """The reads on record and the audit of them."""

    reads: PostgresServedReads
    audit: Audit[Any]


def evidence(
    settings: Settings, engine: Engine, projection: Projection[Any], part: int = 0, parts: int = 1
) -> Evidence:
    """On an open engine; of the keys of one part. Raises PortUnavailable, RegistryUnavailable."""
    reads = PostgresServedReads(engine, projection.name, part, parts)
    with unavailable_as_port_error():
        decode = Codec(schema_ids(settings, engine)).decode
    archive, checkpoints = PostgresArchive(engine), PostgresCheckpoints(engine, projection)
    return Evidence(reads, Audit(projection, archive, checkpoints, decode, reads))


@contextmanager
def open_evidence(settings: Settings, projection: Projection[Any], part: int = 0, parts: int = 1) -> Iterator[Evidence]:
    """Raises UserError if the database is at another revision; PortUnavailable, RegistryUnavailable."""
    assert settings.postgres_url is not None
    refuse_other_revision(settings.postgres_url)
    engine = reader_engine(settings.postgres_url)
    try:
        yield evidence(settings, engine, projection, part, parts)
    finally:
        engine.dispose()
