"""The start of a tailer's life: its slot in order, and its own; its place in the log known."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Engine

from infrastructure.cdc.gap_fill import EventsTable
from infrastructure.cdc.heartbeat import HeartbeatSender
from infrastructure.cdc.in_flight import InFlightTransactions
from infrastructure.cdc.relay_checkpoint import CheckpointSaver, RelayCheckpoint, RelayCheckpointStore
from infrastructure.cdc.replication_slot import (
    SlotState,
    SlotUnusable,
    create_slot,
    database_identity,
    drop_slot,
    ensure_publication,
    events_schema,
    has_publication,
    slot_state,
)
from infrastructure.cdc.replication_stream import ReplicationStream, SlotInUse
from infrastructure.cdc.tailer import Tailer
from infrastructure.cdc.wal_filter import LogIdentity, WalFilter
from infrastructure.event_store.log_head import read_head
from infrastructure.kafka.clients import make_publisher
from infrastructure.kafka.ports import LastRecord
from infrastructure.kafka.topics import topics
from infrastructure.observability import metrics
from infrastructure.settings.settings import Settings

NO_ID = "00000000-0000-0000-0000-000000000000"
"""What brokers before Kafka 2.8 give as every topic's id."""


class StartPosition(NamedTuple):
    """``position``: the checkpoint to go on from, None if only the slot knows; ``message``: what happened, "" if
    nothing."""

    position: int | None
    message: str = ""


def start_position(checkpoint: RelayCheckpoint | None, log_id: UUID, head: int) -> StartPosition:
    """Where the topic stands in the log that is in the database now (invariant 14)."""
    if checkpoint is None:
        return StartPosition(None)
    if checkpoint.log_id != log_id:
        return StartPosition(
            0, f"the log {checkpoint.log_id} was replaced by {log_id}: the topic goes on with the new one's start"
        )
    if checkpoint.position > head:
        return StartPosition(
            head,
            f"the log ends at position {head}, before the checkpoint {checkpoint.position}: it was restored "
            f"without its checkpoint, "
            "and the topic goes on from its end",
        )
    return StartPosition(checkpoint.position)


def slot_fault(state: SlotState | None, checkpoint: RelayCheckpoint | None, slot: str, head: int) -> str:
    """What befell the slot since it was left, "" if nothing. ``head``: the last position of the log.

    A slot that stands higher than was noted was made or moved by somebody else, and may miss events. Not so while the
    log has none that the checkpoint does not cover: the driver tells the server of a stretch of WAL without events by
    itself,
    as in the last message of a server that is shut down, and nothing is noted of that.
    """
    if state is None:
        return (
            f"replication slot {slot} is missing (dropped, or the database was restored)"
            if checkpoint is not None
            else ""
        )
    if state.is_lost:
        return f"replication slot {slot} lost its WAL ({state.invalidation_reason or 'max_slot_wal_keep_size'})"
    if checkpoint is not None and checkpoint.position < head and 0 < checkpoint.confirmed_lsn < state.confirmed:
        return f"replication slot {slot} is not as it was left (made again, or moved on, by somebody else)"
    return ""


def needs_creation(state: SlotState | None) -> bool:
    return state is None or state.is_lost


def recreated_topics(checkpoint: RelayCheckpoint | None, found: Mapping[str, str]) -> list[str]:
    """Topics that bear an id other than the one noted: deleted and made again, or of another broker."""
    known = checkpoint.topics if checkpoint is not None else {}
    return sorted(name for name, one in found.items() if known.get(name, one) != one)


def known_ids(found: Mapping[str, str]) -> dict[str, str]:
    """Without those that say nothing."""
    return {name: one for name, one in found.items() if one and one != NO_ID}


def highest_foreign_position(last: Sequence[LastRecord], ids: Mapping[int, str], head: int) -> int | None:
    """The highest position of a record that is not of this log, None if all are.

    ``ids``: position -> event id of the log; one that is missing below ``head`` was detached, and is believed.
    """
    return max(
        (r.position for r in last if r.position > head or ids.get(r.position, r.event_id) != r.event_id), default=None
    )


log = logging.getLogger("ridelog.tailer")


class WalRelay:
    """A tailer with its heartbeat_sender, on a slot that no other has."""

    def __init__(self, tailer: Tailer, heartbeat_sender: HeartbeatSender) -> None:
        self._tailer = tailer
        self._heartbeat_sender = heartbeat_sender
        self.transactions: InFlightTransactions = tailer.transactions

    def step(self, timeout_s: float) -> int:
        """As ``Tailer.step``."""
        self._heartbeat_sender.send_if_due()
        return self._tailer.step(timeout_s)


def ensure_slot(engine: Engine, settings: Settings) -> None:
    """Publication and slot as they must be; a slot that is gone or lost is made again, and one line says so.

    Raises SlotInUse when another tailer reads from it, SlotUnusable, SQLAlchemyError.
    """
    with engine.connect() as connection:
        head = read_head(connection)
        state = slot_state(connection, settings.slot_name)
        is_new = not has_publication(connection, settings.publication_name)
    # After the slot: its owner stores before it confirms, so an older checkpoint would look like a slot that was moved
    # on.
    checkpoints = RelayCheckpointStore(engine, settings.slot_name)
    checkpoint = checkpoints.read()
    if state is not None and checkpoint is None and (state.active or is_new):
        # A tailer of this log makes its publication, stores its checkpoint and then makes the slot. To wait for this
        # slot
        # would be to wait for ever, and to read it would take it from its owner.
        raise SlotUnusable(
            f"replication slot {settings.slot_name} is of another log of this database, or of another program: set "
            "RIDELOG_SLOT_NAME and RIDELOG_PUBLICATION_NAME to names of its own for each, or drop the slot"
        )
    if state is not None and state.active:
        raise SlotInUse(f"replication slot {settings.slot_name} is active")
    ensure_publication(engine, settings.publication_name)
    at = start_position(checkpoint, head.log_id, head.position)
    fault = slot_fault(state, checkpoint, settings.slot_name, head.position)
    # What a slot still holds of a log that was replaced or set back has the same positions, and other events.
    made = needs_creation(state) or bool(at.message)
    if made:
        # Dropped, then marked, then made, so that a death in between is seen: a slot without a checkpoint is taken for
        # one
        # that was always read, and a checkpoint of this log for one whose slot holds this log.
        if state is not None:
            drop_slot(engine, settings.slot_name)
        checkpoints.reset(head.log_id, at.position or 0)
        create_slot(engine, settings.slot_name)
    if made or fault:
        metrics.SLOT_MADE_AT.labels(_why(checkpoint is None, state, bool(at.message))).set(time.time())
    if fault or at.message:
        log.warning(
            "%s: %sthe topic goes on behind position %d, out of the event store where the slot lacks something",
            "; ".join(filter(None, (fault, at.message))),
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
    settings: Settings, engine: Engine, on_round_trip: Callable[[float], None] = metrics.HEARTBEAT_SECONDS.observe
) -> Iterator[WalRelay]:
    """A relay that owns the slot until the end of the block; ``on_round_trip`` is told the seconds of each of its
    heartbeats.

    Raises SlotInUse, SlotUnusable, StreamLost, PublishError and SQLAlchemyError.
    """
    assert settings.postgres_url is not None
    ensure_slot(engine, settings)
    stream = _replication_stream(settings, engine)
    try:
        # Read only now: the tailer before us moved it to its last moment.
        checkpoints = RelayCheckpointStore(engine, settings.slot_name)
        checkpoint = checkpoints.read()
        with engine.connect() as connection:
            head = read_head(connection)
            schema = events_schema(connection)
        position = start_position(checkpoint, head.log_id, head.position).position
        publisher = make_publisher(settings)
        try:
            heartbeat_sender = HeartbeatSender(engine, on_round_trip)
            tailer = Tailer(
                stream,
                InFlightTransactions(publisher, position),
                EventsTable(engine, topics(settings), settings.topic_partitions),
                CheckpointSaver(functools.partial(checkpoints.advance, head.log_id)),
                WalFilter(LogIdentity(head.log_id, schema), topics(settings), settings.topic_partitions),
                heartbeat_sender.acknowledged,
            )
            yield WalRelay(tailer, heartbeat_sender)
        finally:
            publisher.close()
    finally:
        stream.close()
