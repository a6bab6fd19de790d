"""The event store as a backfill needs it: opened for as long as it runs, and empty or said not to be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import Engine

from domain.contracts import Codec
from domain.riders import Riders
from infrastructure.event_store import migrations
from infrastructure.event_store.engine import reader_engine, writer_engine
from infrastructure.event_store.errors import unavailable_as_port_error
from infrastructure.event_store.factory import EventStoreFactory
from infrastructure.event_store.head import read_head
from infrastructure.event_store.log import PostgresHistory
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.event_store.snapshots import SnapshotRecorder
from infrastructure.rebuild.world import refuse_other_revision
from infrastructure.registry.connect import schema_ids
from infrastructure.settings import Settings
from infrastructure.supervision.stack import attach, servers_for
from infrastructure.user_error import UserError

NEEDS = ("postgres_url",)
"""The setting of the one server that a backfill needs; a `serve` publishes what is recorded when it next runs."""


class History(NamedTuple):
    """The commands on riders, and the log that they write to."""

    riders: Riders
    engine: Engine

    def refuse_unless_empty(self) -> None:
        """Raises UserError, PortUnavailable."""
        with unavailable_as_port_error(), self.engine.connect() as connection:
            events = read_head(connection).position
        if events:
            raise UserError(
                f"the log has {events:,} events already, and history would lie before them: name a fresh --data-dir "
                "or database; or, if this very import was broken off, go on with --resume"
            )


@contextmanager
def open_history(settings: Settings) -> Iterator[History]:
    """Beside a running `serve`, or with a Postgres of its own time.

    Raises UserError, also for an external database at another revision; PortUnavailable.
    """
    ours = settings.postgres_url is None and attach(settings) is None
    with servers_for(settings, NEEDS, make=True) as served:
        assert served.postgres_url is not None
        if ours:
            migrations.upgrade(served.postgres_url)
        else:
            refuse_other_revision(served.postgres_url)
        writer, reader = writer_engine(served.postgres_url), reader_engine(served.postgres_url)
        try:
            with unavailable_as_port_error():
                codec = Codec(schema_ids(served, reader))
            recorder = EventRecorder(writer, partition_rows=served.partition_rows)
            riders = Riders(
                EventStoreFactory(recorder, SnapshotRecorder(writer), codec),
                PostgresHistory(reader),
                cached_riders=served.rider_cache,
                snapshot_every=served.snapshot_every,
                restored=codec.forget,
            )
            yield History(riders, reader)
        finally:
            writer.dispose()
            reader.dispose()
