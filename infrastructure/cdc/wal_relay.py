"""The start of a tailer's life: its slot in order, and its own; its place in the log known."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from infrastructure.cdc.events_table import EventsTable
from infrastructure.cdc.guard import must_be_made, place, slot_fault
from infrastructure.cdc.heartbeat import Heart
from infrastructure.cdc.keeper import MarkKeeper
from infrastructure.cdc.marks import Marks
from infrastructure.cdc.outflow import Outflow
from infrastructure.cdc.slot import (
    SlotState,
    SlotUnusable,
    database_identity,
    drop_slot,
    ensure_publication,
    events_schema,
    has_publication,
    make_slot,
    slot_state,
)
from infrastructure.cdc.stream import ReplicationStream, SlotInUse
from infrastructure.cdc.tailer import Tailer
from infrastructure.cdc.wal_filter import LogIdentity, WalFilter
from infrastructure.event_store.head import read_head
from infrastructure.kafka.factory import make_publisher
from infrastructure.observability import metrics
from infrastructure.settings import Settings
from infrastructure.topics import topics

log = logging.getLogger("ridelog.tailer")


class WalRelay:
    """A tailer with its heart, on a slot that no other has."""

    def __init__(self, tailer: Tailer, heart: Heart) -> None:
        self._tailer = tailer
        self._heart = heart
        self.out: Outflow = tailer.out

    def step(self, timeout_s: float) -> int:
        """As ``Tailer.step``."""
        self._heart.beat()
        return self._tailer.step(timeout_s)


def ensure_slot(engine: Engine, settings: Settings) -> None:
    """Publication and slot as they must be; a slot that is gone or lost is made again, and one line says so.

    Raises SlotInUse when another tailer reads from it, SlotUnusable, SQLAlchemyError.
    """
    with engine.connect() as connection:
        head = read_head(connection)
        state = slot_state(connection, settings.slot_name)
        is_new = not has_publication(connection, settings.publication_name)
    # After the slot: its owner stores before it confirms, so an older mark would look like a slot that was moved on.
    marks = Marks(engine, settings.slot_name)
    mark = marks.read()
    if state is not None and mark is None and (state.active or is_new):
        # A tailer of this log makes its publication, stores its mark and then makes the slot. To wait for this slot
        # would be to wait for ever, and to read it would take it from its owner.
        raise SlotUnusable(
            f"replication slot {settings.slot_name} is of another log of this database, or of another program: set "
            "RIDELOG_SLOT_NAME and RIDELOG_PUBLICATION_NAME to names of its own for each, or drop the slot"
        )
    if state is not None and state.active:
        raise SlotInUse(f"replication slot {settings.slot_name} is active")
    ensure_publication(engine, settings.publication_name)
    at = place(mark, head.log_id, head.position)
    fault = slot_fault(state, mark, settings.slot_name, head.position)
    # What a slot still holds of a log that was replaced or set back has the same positions, and other events.
    made = must_be_made(state) or bool(at.words)
    if made:
        # Dropped, then marked, then made, so that a death in between is seen: a slot without a mark is taken for one
        # that was always read, and a mark of this log for one whose slot holds this log.
        if state is not None:
            drop_slot(engine, settings.slot_name)
        marks.begin(head.log_id, at.position or 0)
        make_slot(engine, settings.slot_name)
    if made or fault:
        metrics.SLOT_MADE_AT.labels(_why(mark is None, state, bool(at.words))).set(time.time())
    if fault or at.words:
        log.warning(
            "%s: %sthe topic goes on behind position %d, out of the event store where the slot lacks something",
            "; ".join(filter(None, (fault, at.words))),
            "it is made anew, " if made else "",
            at.position or 0,
        )


def _why(first: bool, state: SlotState | None, other_log: bool) -> str:
    if first:
        return "first"
    if state is None:
        return "missing"
    if state.is_lost:
        return "lost"
    return "log" if other_log else "elsewhere"


def _replication_stream(settings: Settings, engine: Engine) -> ReplicationStream:
    """From the database's own URL, or the one of replication, if it leads to the same database.

    Raises SlotInUse, SlotUnusable, StreamLost, UserError, SQLAlchemyError.
    """
    slot, publication = settings.slot_name, settings.publication_name
    if settings.postgres_replication_url is None:
        assert settings.postgres_url is not None
        return ReplicationStream(settings.postgres_url, slot, publication)
    with engine.connect() as connection:
        database = database_identity(connection)
    return ReplicationStream(
        settings.postgres_replication_url, slot, publication, "RIDELOG_POSTGRES_REPLICATION_URL", database
    )


@contextmanager
def wal_relay(
    settings: Settings, engine: Engine, took: Callable[[float], None] = metrics.HEARTBEAT_SECONDS.observe
) -> Iterator[WalRelay]:
    """A relay that owns the slot until the end of the block; ``took`` is told the seconds of each of its heartbeats.

    Raises SlotInUse, SlotUnusable, StreamLost, PublishError and SQLAlchemyError.
    """
    assert settings.postgres_url is not None
    ensure_slot(engine, settings)
    stream = _replication_stream(settings, engine)
    try:
        # Read only now: the tailer before us moved it to its last moment.
        marks = Marks(engine, settings.slot_name)
        mark = marks.read()
        with engine.connect() as connection:
            head = read_head(connection)
            schema = events_schema(connection)
        position = place(mark, head.log_id, head.position).position
        publisher = make_publisher(settings)
        try:
            heart = Heart(engine, took)
            tailer = Tailer(
                stream,
                Outflow(publisher, position),
                EventsTable(engine, topics(settings), settings.topic_partitions),
                MarkKeeper(functools.partial(marks.keep, head.log_id)),
                WalFilter(LogIdentity(head.log_id, schema), topics(settings), settings.topic_partitions),
                heart.arrived,
            )
            yield WalRelay(tailer, heart)
        finally:
            publisher.close()
    finally:
        stream.close()
