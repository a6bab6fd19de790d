"""Composition root: every connection, codec and adapter of a command or process is built here, on first use.

A command names the settings that it needs, opens ``Backends`` and takes members from it. Nothing else builds an engine
for the log, a codec, an archive or the aggregates' application.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any, Self, TypeVar

from sqlalchemy import Engine

from domain.deliveries.application import Deliveries
from domain.events.contracts import Codec
from domain.riders.application import Riders
from domain.riders.command_service import RiderCommands
from infrastructure.errors import UserError
from infrastructure.event_store.aggregates import EventStoreFactory, SnapshotRecorder
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.event_store.log_reader import PostgresHistory, PostgresLog
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine, sink_engine, writer_engine
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.postgres.snapshots import PostgresStateSnapshots
from infrastructure.redis.connection import (
    AsyncRedisClient,
    RedisClient,
    check_never_evicts,
    connect,
    connect_async,
    drop_connections,
)
from infrastructure.schema_registry.client import SchemaRegistry, registry_of, schema_ids
from infrastructure.settings.settings import Settings
from infrastructure.sinks.factory import Stores
from infrastructure.sinks.uncertain_records import UncertainRecords
from projections.catalogue import PROJECTIONS
from projections.core.fold import Decode
from projections.core.projection import Projection
from projections.replay.source import ReplaySource

S = TypeVar("S")

EVENT_STORE_SETTINGS = ("postgres_url",)
"""Settings of the one server that a replay, a parity check or an import needs."""
FOLD_SETTINGS = ("postgres_url", "redis_url")
"""Settings of the servers that folding into read models needs; Kafka is not one of them."""


class Backends:
    """Connections and adapters over ``settings``. Each member opens on first use; ``close`` closes what was opened.

    A member whose setting is missing raises UserError with the name of the setting. Members are opened by one thread.
    """

    def __init__(self, settings: Settings, *, pool_size: int = 5) -> None:
        """``pool_size``: connections that the reading engine keeps open."""
        self.settings = settings
        self._pool_size = pool_size
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the bundle must not be used afterwards."""
        self._opened.close()

    def drop_connections(self) -> None:
        """Close pooled connections to Postgres and Redis; the next use connects again.

        A session of a server that has become a standby goes on answering reads for as long as it is kept.
        """
        for name in ("engine", "sink_engine", "writer_engine"):
            if (engine := self.__dict__.get(name)) is not None:
                engine.dispose()
        if (cache := self.__dict__.get("cache")) is not None:
            drop_connections(cache)

    def _url(self, setting: str) -> str:
        url: str | None = getattr(self.settings, setting)
        if url is None:
            raise UserError(f"the setting {setting} is missing: set RIDELOG_{setting.upper()}, or start app.py serve")
        return url

    def _engine(self, make: Any, **options: Any) -> Engine:
        engine: Engine = make(self.postgres_url, **options)
        self._opened.callback(engine.dispose)
        return engine

    @property
    def postgres_url(self) -> str:
        """Raises UserError if it is not set."""
        return self._url("postgres_url")

    @cached_property
    def engine(self) -> Engine:
        """For reading the log, read models in Postgres and the registry."""
        return self._engine(reader_engine, pool_size=self._pool_size)

    @cached_property
    def writer_engine(self) -> Engine:
        """For recording events."""
        return self._engine(writer_engine)

    @cached_property
    def sink_engine(self) -> Engine:
        """For writing the output of projections."""
        return self._engine(sink_engine)

    @cached_property
    def uncertain_records(self) -> UncertainRecords:
        """What failed steps may have sent to a topic of rows; it outlives the sinks."""
        return UncertainRecords(self.sink_engine)

    @cached_property
    def cache(self) -> RedisClient:
        """Synchronous client; no connection is made yet."""
        client = connect(self._url("redis_url"))
        self._opened.callback(client.close)
        return client

    def async_cache(self) -> AsyncRedisClient:
        """A client for an event loop. The caller closes it in that loop."""
        return connect_async(self._url("redis_url"))

    def make_codec(self) -> Codec:
        """A codec that knows no schema id yet. Raises PortUnavailable, RegistryUnavailable."""
        with unavailable_as_port_error():
            return Codec(schema_ids(self.settings, self.engine))

    @cached_property
    def codec(self) -> Codec:
        """The codec that all members share. Raises PortUnavailable, RegistryUnavailable."""
        return self.make_codec()

    @property
    def decode(self) -> Decode:
        """Payload of an event to its record. Raises as ``codec``."""
        return self.codec.decode

    @cached_property
    def registry(self) -> SchemaRegistry:
        """The schema registry: the external one if it is set, else the tables in Postgres."""
        return registry_of(self.settings, self.engine)

    @cached_property
    def log(self) -> PostgresLog:
        return PostgresLog(self.engine)

    @cached_property
    def archive(self) -> PostgresArchive:
        return PostgresArchive(self.engine)

    @cached_property
    def generations(self) -> PostgresGenerations:
        return PostgresGenerations(self.engine)

    @cached_property
    def stores(self) -> Stores:
        """Sinks of projections, in Postgres and Redis."""
        return Stores(self.sink_engine, self.cache)

    def replay_source(self, projection: Projection[S]) -> ReplaySource[S]:
        """What a replay of the projection reads. Raises as ``codec``."""
        return ReplaySource(projection, self.archive, self.decode)

    def snapshots(self, projection: Projection[Any]) -> PostgresStateSnapshots:
        """Stored states of the projection's keys."""
        return PostgresStateSnapshots(self.engine, projection)

    @cached_property
    def riders(self) -> Riders:
        """The application that decides and records the commands on riders. Raises as ``codec``."""
        recorder = EventRecorder(self.writer_engine, partition_rows=self.settings.partition_rows)
        codec = self.codec
        return Riders(
            EventStoreFactory(recorder, SnapshotRecorder(self.writer_engine), codec),
            PostgresHistory(self.engine),
            cached_riders=self.settings.rider_cache,
            snapshot_every=self.settings.snapshot_every,
            on_log_restored=codec.forget,
        )

    @cached_property
    def deliveries(self) -> Deliveries:
        """The application of the commands on deliveries; it shares the riders in memory. Raises as ``codec``."""
        return Deliveries(self.riders)

    @cached_property
    def rider_commands(self) -> RiderCommands:
        """The application of people's commands on riders; it shares the riders in memory. Raises as ``codec``."""
        return RiderCommands(self.riders)


@contextmanager
def open_backends(settings: Settings, need: Collection[str] = EVENT_STORE_SETTINGS) -> Iterator[Backends]:
    """Backends on servers that are checked first: the database's revision, and that Redis never evicts if needed.

    Raises UserError for a missing setting or a database at another revision; PortUnavailable, RegistryUnavailable,
    EvictingRedis.
    """
    with Backends(settings) as backends:
        refuse_other_revision(backends.postgres_url)
        if "redis_url" in need:
            check_never_evicts(backends.cache)
        # A registry that is unavailable is reported before work begins, and not in the middle of it.
        _ = backends.codec
        yield backends


def refuse_other_revision(postgres_url: str) -> None:
    """Raises UserError unless the database is at this code's revision."""
    # Only commands check the revision; a program that serve started need not load the migrations.
    from infrastructure.postgres import migrations

    with unavailable_as_port_error():
        revision = migrations.revision(postgres_url)
    if not revision.is_current:
        raise UserError(f"the database {revision.fault}")


def projection_named(name: str) -> Projection[Any]:
    """Raises UserError for a name that the catalogue does not have."""
    if name not in PROJECTIONS:
        raise UserError(f"there is no projection {name!r}; there are: {', '.join(PROJECTIONS)}")
    return PROJECTIONS[name]
