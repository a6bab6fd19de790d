"""A tailer on a scripted WAL, publisher and event table."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from uuid import UUID

from infrastructure.cdc.gap_fill import EventChunk
from infrastructure.cdc.heartbeat import PREFIX, Heartbeat
from infrastructure.cdc.in_flight import InFlightTransactions
from infrastructure.cdc.relay_checkpoint import CheckpointSaver
from infrastructure.cdc.replication_stream import WalBatch
from infrastructure.cdc.row_to_record import converter
from infrastructure.cdc.tailer import Tailer
from infrastructure.cdc.wal_filter import LogIdentity, WalFilter
from infrastructure.kafka.ports import ProducerRecord
from tests.unit.cdc.test_pgoutput import begin, commit, insert, row

LOG_ID = UUID(int=7)
OURS = LogIdentity(LOG_ID, "public")


class ScriptedStream:
    """Returns the messages that a test adds; records confirmed LSNs."""

    def __init__(self, messages: Sequence[bytes] = ()) -> None:
        self.messages = list(messages)
        self.wal_end = 0
        self.confirmed: list[int] = []
        self.waits = 0
        self.reads = 0

    def read(self, limit: int) -> WalBatch:
        self.reads += 1
        batch, self.messages = self.messages[:limit], self.messages[limit:]
        return WalBatch(batch, self.wal_end, drained=not self.messages)

    def wait(self, timeout_s: float) -> None:
        self.waits += 1

    def confirm(self, lsn: int) -> None:
        self.confirmed.append(lsn)


class ScriptedPublisher:
    """Accepts at most ``room`` records in total; acknowledges the batches in ``acknowledge``."""

    def __init__(self, room: int = 10**9) -> None:
        self.room = room
        self.records: list[tuple[int, ProducerRecord]] = []
        self.sealed: list[int] = []
        self.acknowledge: list[int] = []
        self.waited_s: list[float] = []

    def publish(self, batch_id: int, records: Sequence[ProducerRecord]) -> int:
        taken = records[: self.room]
        self.room -= len(taken)
        self.records += [(batch_id, record) for record in taken]
        return len(taken)

    def seal(self, batch_id: int) -> None:
        self.sealed.append(batch_id)

    def acknowledged(self, timeout_s: float) -> list[int]:
        self.waited_s.append(timeout_s)
        done, self.acknowledge = self.acknowledge, []
        return done

    def in_flight(self) -> int:
        return len(self.records)

    def close(self, timeout_s: float = 5.0) -> int:
        return 0


class ScriptedEvents:
    """The table of a log that ends at ``head``.

    It has every event up to ``stored``, and returns ``chunk`` at a time. ``asked`` records the ranges that were read.
    """

    def __init__(self, head: int = 0, chunk: int = 2, stored: int | None = None) -> None:
        self.head = head
        self.stored = head if stored is None else stored
        self.chunk = chunk
        self.asked: list[tuple[int, int]] = []
        self.heads_read = 0

    def read(self, after: int, upto: int) -> EventChunk | None:
        self.asked.append((after, upto))
        positions = range(after + 1, min(after + self.chunk, upto, self.stored) + 1)
        convert = converter({"Rider": "gps-pings"}, 8)
        records = [convert(row(position=p)) for p in positions]
        return (
            EventChunk([r for r in records if r is not None], len(positions), positions[-1], 0) if positions else None
        )

    def head_position(self) -> int:
        self.heads_read += 1
        return self.head


class ImmediateSaver(CheckpointSaver):
    """Saves every checkpoint at once, and records the last one."""

    def __init__(self) -> None:
        self.position: int | None = None
        self.lsn = -1

    def save_if_due(self, position: int | None, lsn: int) -> int:
        self.position, self.lsn = position, lsn
        return lsn


def heartbeat(end_lsn: int, position: int, log_id: UUID = LOG_ID, prefix: str = PREFIX) -> list[bytes]:
    content = {"log_id": str(log_id), "position": position, "sender": "me", "sent_ns": 5}
    return message(end_lsn, json.dumps(content).encode(), prefix)


def message(end_lsn: int, content: bytes, prefix: str = PREFIX) -> list[bytes]:
    """A transaction with one logical message."""
    head = b"M" + struct.pack(">BQ", 1, end_lsn - 8) + prefix.encode() + b"\0"
    return [begin(end_lsn), head + struct.pack(">I", len(content)) + content, commit(end_lsn)]


def transaction(end_lsn: int, positions: Sequence[int], shard: int = 9) -> list[bytes]:
    return [begin(end_lsn), *(insert(row(position=p, shard=shard)) for p in positions), commit(end_lsn)]


def a_tailer(
    stream: ScriptedStream,
    publisher: ScriptedPublisher,
    checkpoint: int | None = None,
    events: ScriptedEvents | None = None,
    heartbeats: list[Heartbeat] | None = None,
) -> Tailer:
    out = InFlightTransactions(publisher, checkpoint)
    on_heartbeat = (heartbeats if heartbeats is not None else []).append
    wal = WalFilter(OURS, {"Rider": "gps-pings"}, 8)
    return Tailer(stream, out, events or ScriptedEvents(), ImmediateSaver(), wal, on_heartbeat)


def positions_of(publisher: ScriptedPublisher) -> list[int]:
    return [int(dict(record.headers)["position"]) for _, record in publisher.records]


def run_dry(tailer: Tailer, publisher: ScriptedPublisher, steps: int = 12) -> None:
    """Step until nothing is left; every sealed batch is acknowledged at once."""
    done = 0
    for _ in range(steps):
        tailer.step(0)
        publisher.acknowledge, done = publisher.sealed[done:], len(publisher.sealed)
