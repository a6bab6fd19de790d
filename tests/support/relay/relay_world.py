"""A log, its WAL, a slot and a broker in memory, in which relays crash at any time."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Sequence

from infrastructure.cdc.gap_fill import EventChunk
from infrastructure.cdc.in_flight import InFlightTransactions
from infrastructure.cdc.polling_relay import Poller
from infrastructure.cdc.relay_checkpoint import CheckpointSaver
from infrastructure.cdc.replication_stream import WalBatch
from infrastructure.cdc.row_to_record import converter
from infrastructure.cdc.tailer import Tailer
from infrastructure.cdc.wal_filter import WalFilter
from infrastructure.kafka.delivery_tracker import DeliveryTracker, PendingBatch
from infrastructure.kafka.ports import ProducerRecord
from tests.unit.cdc.scripted_tailer import OURS, heartbeat, transaction
from tests.unit.cdc.test_pgoutput import relation, row

TOPICS = {"Rider": "gps-pings"}
PARTITIONS = 2


class RelayWorld:
    """``topic``: partition -> the positions published there, in order."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.wal: list[tuple[int, list[bytes]]] = []
        self._now = 1.0
        self._made_at = 0
        self._positions: list[range] = []
        self.head = 0
        self.slot = 0
        self.checkpoint: int | None = 0
        self.topic: dict[int, list[int]] = defaultdict(list)
        self.relay: Tailer | Poller | None = None
        self.publisher = _Publisher(self)

    def write(self, rows: int) -> None:
        """One transaction."""
        positions = range(self.head + 1, self.head + rows + 1)
        self.head += rows
        end = self._end()
        # The shard decides the partition.
        begun, *_, ended = transaction(end, [0])
        inserts = [message for p in positions for message in transaction(end, [p], shard=p % 5)[1:-1]]
        self.wal.append((end, [begun, *inserts, ended]))
        self._positions.append(positions)

    def beat(self) -> None:
        self.wal.append((end := self._end(), heartbeat(end, self.head)))
        self._positions.append(range(0))

    def start(self, kind: str) -> None:
        """Start a new relay; the one before it, if any, is dropped."""
        self.publisher = _Publisher(self)
        out, saver = (
            InFlightTransactions(self.publisher, self.checkpoint),
            CheckpointSaver(self._save, clock=self._clock),
        )
        if kind == "polling":
            self.relay = Poller(out, self, saver, lambda seconds: None)
        else:
            self.relay = Tailer(_Stream(self), out, self, saver, WalFilter(OURS, TOPICS, PARTITIONS))
            self.beat()

    def crash(self) -> None:
        """As kill -9: the broker received some of the records that were handed over, in order."""
        self.publisher.land(self.chance.randrange(10))
        self.relay = None

    def lose_slot(self) -> None:
        """Drop and recreate the slot without a notice, as another process would: it starts at the end of the WAL."""
        self.crash()
        self.slot = self._made_at = self._end() - 1

    def confirmed(self) -> set[int]:
        """Positions of the transactions that the slot has passed since it was created: it never delivers them again."""
        ends = [(number, 100 * (n + 1)) for n, numbers in enumerate(self._positions) for number in numbers]
        return {number for number, end in ends if self._made_at < end <= self.slot}

    def read(self, after: int, upto: int) -> EventChunk | None:
        """The table, as ``EventSource``."""
        positions = range(after + 1, min(after + 3, upto, self.head) + 1)
        convert = converter(TOPICS, PARTITIONS)
        records = [convert(row(position=p, shard=p % 5)) for p in positions]
        return (
            EventChunk([r for r in records if r is not None], len(positions), positions[-1], 0) if positions else None
        )

    def head_position(self) -> int:
        return self.head

    def _clock(self) -> float:
        """Advances by a random time, so that the checkpoint is saved only sometimes."""
        self._now += self.chance.random() * 4
        return self._now

    def _save(self, position: int, lsn: int) -> None:
        self.checkpoint = max(self.checkpoint or 0, position)

    def _end(self) -> int:
        return 100 * (len(self.wal) + 1)


class _Stream:
    """Reads from the slot's position at the start."""

    def __init__(self, world: RelayWorld) -> None:
        self._world = world
        self._next = next((n for n, (end, _) in enumerate(world.wal) if end > world.slot), len(world.wal))
        self._messages = deque([relation()])

    def read(self, limit: int) -> WalBatch:
        for _, messages in self._world.wal[self._next :]:
            self._messages += messages
        self._next = len(self._world.wal)
        count = self._world.chance.randrange(1, 8)
        batch = [self._messages.popleft() for _ in range(min(count, len(self._messages)))]
        return WalBatch(batch, 100 * len(self._world.wal), drained=not self._messages)

    def wait(self, timeout_s: float) -> None:
        pass

    def confirm(self, lsn: int) -> None:
        self._world.slot = max(self._world.slot, lsn)


class _Publisher:
    """Accepts some records and lands some: in order within a partition, in any order between partitions."""

    def __init__(self, world: RelayWorld) -> None:
        self._world = world
        self._tracker = DeliveryTracker()
        self._unlanded: dict[int, deque[tuple[PendingBatch, int]]] = defaultdict(deque)

    def publish(self, batch_id: int, records: Sequence[ProducerRecord]) -> int:
        taken = records[: self._world.chance.randrange(1, 6)]
        batch = self._tracker.batch(batch_id)
        batch.sent(len(taken))
        for record in taken:
            position = int(dict(record.headers)["position"])
            self._unlanded[record.partition].append((batch, position))
        return len(taken)

    def land(self, count: int) -> None:
        for _ in range(count):
            waiting = [p for p, queue in self._unlanded.items() if queue]
            if not waiting:
                return
            partition = self._world.chance.choice(waiting)
            batch, position = self._unlanded[partition].popleft()
            self._world.topic[partition].append(position)
            batch.delivered(None, None)

    def seal(self, batch_id: int) -> None:
        self._tracker.batch(batch_id).seal()

    def acknowledged(self, timeout_s: float) -> list[int]:
        return self._tracker.take()

    def in_flight(self) -> int:
        return self._tracker.in_flight

    def close(self, timeout_s: float = 5.0) -> int:
        return self._tracker.in_flight
