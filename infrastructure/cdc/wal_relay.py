"""Starts a tailer: verifies its replication slot, takes the slot, and finds the position to resume from.

The checks of the saved checkpoint against the slot and the log are pure functions.
"""

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
"""The topic id that brokers before Kafka 2.8 report for every topic."""


class StartPosition(NamedTuple):
    """Where the relay resumes.

    ``position``: the position to resume after, None if only the slot knows it. ``message``: why this is not the saved
    checkpoint, "" if it is.
    """

    position: int | None
    message: str = ""


def start_position(checkpoint: RelayCheckpoint | None, log_id: UUID, head: int) -> StartPosition:
    """Map the saved checkpoint to the log that is in the database now (invariant 14). ``head``: its last position."""
    if checkpoint is None:
        return StartPosition(None)
    if checkpoint.log_id != log_id:
        return StartPosition(
            0,
            f"the log {checkpoint.log_id} was replaced by {log_id}: the topic continues with the new log's first event",
        )
    if checkpoint.position > head:
        return StartPosition(
            head,
            f"the log ends at position {head}, before the checkpoint {checkpoint.position}: it was restored "
            "without its checkpoint, and the topic continues from its end",
        )
    return StartPosition(checkpoint.position)


def slot_fault(state: SlotState | None, checkpoint: RelayCheckpoint | None, slot: str, head: int) -> str:
    """Describe what happened to the slot since a relay last used it, "" if nothing. ``head``: the log's last position.

    A slot that is ahead of the saved LSN was created or advanced by another process, and may miss events. Exception: if
    the checkpoint covers every event, the driver may confirm event-free WAL on its own (for example at server
    shutdown). The slot is then ahead of the checkpoint and nothing is lost.
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
        return f"replication slot {slot} is not where this relay left it (another process recreated or advanced it)"
    return ""


def needs_creation(state: SlotState | None) -> bool:
    """Whether the slot must be created: it is missing, or the server has discarded its WAL."""
    return state is None or state.is_lost


def recreated_topics(checkpoint: RelayCheckpoint | None, found: Mapping[str, str]) -> list[str]:
    """Topics whose id is not the saved one: deleted and recreated, or on another broker."""
    known = checkpoint.topics if checkpoint is not None else {}
    return sorted(name for name, one in found.items() if known.get(name, one) != one)


def known_ids(found: Mapping[str, str]) -> dict[str, str]:
    """The topic ids without those that identify nothing (missing, or NO_ID)."""
    return {name: one for name, one in found.items() if one and one != NO_ID}


def highest_foreign_position(last: Sequence[LastRecord], ids: Mapping[int, str], head: int) -> int | None:
    """The highest position of a record that does not match the log, None if all match.

    ``ids``: position -> event id in the log. A position up to ``head`` that is missing in ``ids`` is in a detached
    partition, and its record counts as a match.
    """
    return max(
        (r.position for r in last if r.position > head or ids.get(r.position, r.event_id) != r.event_id), default=None
    )


log = logging.getLogger("ridelog.tailer")


class WalRelay:
    """A tailer and its heartbeat sender, on a slot that no other process reads."""

    def __init__(self, tailer: Tailer, heartbeat_sender: HeartbeatSender) -> None:
        self._tailer = tailer
        self._heartbeat_sender = heartbeat_sender
        self.transactions: InFlightTransactions = tailer.transactions

    def step(self, timeout_s: float) -> int:
        """Send a heartbeat if one is due, then run ``Tailer.step``."""
        self._heartbeat_sender.send_if_due()
        return self._tailer.step(timeout_s)


def ensure_slot(engine: Engine, settings: Settings) -> None:
    """Create or repair the publication and the slot. A missing or lost slot is recreated, with one log line.

    Raises SlotInUse when another tailer reads from it, SlotUnusable, SQLAlchemyError.
    """
    with engine.connect() as connection:
        head = read_head(connection)
        state = slot_state(connection, settings.slot_name)
        is_new = not has_publication(connection, settings.publication_name)
    # Read after the slot: its owner saves the checkpoint before it confirms. A checkpoint that is older than the slot
    # state would look like a slot that another process advanced.
    checkpoints = RelayCheckpointStore(engine, settings.slot_name)
    checkpoint = checkpoints.read()
    if state is not None and checkpoint is None and (state.active or is_new):
        # A tailer of this log creates its publication, saves its checkpoint and then creates the slot. So this slot
        # has another owner: waiting for it would never end, and reading it would take it from its owner.
        raise SlotUnusable(
            f"replication slot {settings.slot_name} belongs to another log of this database, or to another program: "
            "set RIDELOG_SLOT_NAME and RIDELOG_PUBLICATION_NAME to names that are unique for each, or drop the slot"
        )
    if state is not None and state.active:
        raise SlotInUse(f"replication slot {settings.slot_name} is active")
    at = start_position(checkpoint, head.log_id, head.position)
    fault = slot_fault(state, checkpoint, settings.slot_name, head.position)
    if is_new and state is not None:
        # Up to PostgreSQL 17 no WAL of before the publication can be read by it: "publication does not exist", at each
        # start. The slot is dropped first: after a crash in between it is missing, and is recreated.
        fault = f"publication {settings.publication_name} was dropped, and the slot has WAL of before the new one"
        drop_slot(engine, settings.slot_name)
        state = None
    ensure_publication(engine, settings.publication_name)
    # If the log was replaced or restored, the slot's remaining WAL has the same positions with other events.
    created = needs_creation(state) or bool(at.message)
    if created:
        # Drop the slot, save the checkpoint, create the slot, in this order: a crash in between is then detected. A
        # slot without a checkpoint passes for one that was always read, and a checkpoint of this log for one whose slot
        # holds this log.
        if state is not None:
            drop_slot(engine, settings.slot_name)
        checkpoints.reset(head.log_id, at.position or 0)
        create_slot(engine, settings.slot_name)
    if created or fault:
        metrics.SLOT_MADE_AT.labels(_creation_reason(checkpoint is None, state, bool(at.message))).set(time.time())
    if fault or at.message:
        log.warning(
            "%s: %sthe topic continues after position %d, from the event store where the slot misses events",
            "; ".join(filter(None, (fault, at.message))),
            "it is recreated, " if created else "",
            at.position or 0,
        )


def _creation_reason(first: bool, state: SlotState | None, other_log: bool) -> str:
    """The value of the metric's label."""
    if first:
        return "first"
    if state is None:
        return "missing"
    if state.is_lost:
        return "lost"
    return "log" if other_log else "elsewhere"


def _replication_stream(settings: Settings, engine: Engine) -> ReplicationStream:
    """Connect by RIDELOG_POSTGRES_REPLICATION_URL if it is set and leads to the same database, else by the main URL.

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
    """Yield a relay that owns the slot until the end of the block.

    ``on_round_trip`` gets the seconds that each heartbeat took from Postgres until Kafka acknowledged all before it.

    Raises SlotInUse, SlotUnusable, StreamLost, PublishError and SQLAlchemyError.
    """
    assert settings.postgres_url is not None
    ensure_slot(engine, settings)
    stream = _replication_stream(settings, engine)
    try:
        # Read only after the slot is ours: the previous tailer may have advanced the checkpoint until then.
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
