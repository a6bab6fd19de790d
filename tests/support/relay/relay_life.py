"""Runs relays against real servers, and reads what they have published."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from sqlalchemy import Engine

from domain.identifiers import shard_of
from infrastructure.cdc.polling_relay import PollingRelay, RelayInUse, polling_relay
from infrastructure.cdc.relay_checkpoint import RelayCheckpointStore
from infrastructure.cdc.replication_stream import SlotInUse
from infrastructure.cdc.wal_relay import WalRelay, wal_relay
from infrastructure.kafka.topics import topics
from infrastructure.settings.settings import Settings
from tests.support.kafka.consumer_probe import arrived
from tests.support.waiting import eventually


def relay_of(
    settings: Settings, engine: Engine, on_round_trip: Callable[[float], None] = lambda seconds: None
) -> AbstractContextManager[WalRelay | PollingRelay]:
    """The relay that the settings select. Raises SlotInUse, RelayInUse."""
    if settings.relay == "polling":
        return polling_relay(settings, engine, lambda seconds: None)
    return wal_relay(settings, engine, on_round_trip)


class Life:
    """One run of a relay. It ends as abruptly as by kill -9: nothing is confirmed at the end."""

    def __init__(
        self, settings: Settings, engine: Engine, on_round_trip: Callable[[float], None] = lambda seconds: None
    ) -> None:
        """``on_round_trip`` gets the round trip of each heartbeat, in seconds."""
        self._stack = ExitStack()
        self._checkpoints = RelayCheckpointStore(engine, settings.slot_name)

        def opened() -> WalRelay | PollingRelay | None:
            try:
                return self._stack.enter_context(relay_of(settings, engine, on_round_trip))
            except (SlotInUse, RelayInUse):
                return None  # the server has not released the previous relay's slot or lock: wait, as a standby does

        relay = eventually(opened, what="the relay has its slot or its lock")
        assert relay is not None
        self.relay = relay
        self.progress = relay.transactions.progress

    def until(self, reached: Callable[[], bool], what: str) -> None:
        """Step until ``reached`` returns true."""

        def stepped() -> bool:
            self.relay.step(0.01)
            return reached()

        eventually(stepped, within_s=120, every_s=0, what=what)

    def until_acknowledged(self, position: int) -> None:
        self.until(lambda: (self.progress.position or 0) >= position, f"position {position} is acknowledged")

    def until_stored(self, position: int) -> None:
        """Step until the checkpoint in Postgres is at ``position``: the next relay repeats nothing up to it.

        The checkpoint is saved at most once a second, so an acknowledged position alone may be published once more.
        """
        self.until(lambda: self._stored() >= position, f"the checkpoint is saved at position {position}")

    def until_raises(self, error: type[Exception], what: str) -> None:
        """Step until that error is raised."""

        def raised() -> bool:
            try:
                self.relay.step(0.05)
            except error:
                return True
            return False

        eventually(raised, every_s=0, what=what)

    def end(self) -> None:
        self._stack.close()

    def _stored(self) -> int:
        checkpoint = self._checkpoints.read()
        return checkpoint.position if checkpoint is not None else 0


class Published(NamedTuple):
    """One record as a consumer receives it."""

    partition: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    @property
    def position(self) -> int:
        return int(dict(self.headers)["position"])


def records_of(settings: Settings, stream: str = "Rider", at_least: int = 0) -> list[Published]:
    """All records of the stream's topic, at least ``at_least``, in partition order."""
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": "test"})
    topic = topics(settings)[stream]
    partitions = range(settings.topic_partitions)
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
    # The embedded broker's end offsets do not count the last batch: reading ends when nothing more arrives.
    due = sum(consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20.0)[1] for p in partitions)
    found: list[Published] = []

    def read_all() -> bool:
        messages = arrived(consumer, 1.0)
        for message in messages:
            headers: Any = tuple(message.headers() or ())
            found.append(Published(message.partition() or 0, message.key() or b"", message.value() or b"", headers))
        return not messages and len(found) >= max(due, at_least)

    eventually(read_all, within_s=60, every_s=0, what=f"{max(due, at_least)} records are read")
    consumer.close()
    return found


def published(settings: Settings) -> list[tuple[int, int, bytes]]:
    """(shard, seq, value) of all records, in partition order."""
    return [
        (shard_of(record.key.decode()), int(dict(record.headers)["seq"]), record.value)
        for record in records_of(settings)
    ]


def assert_whole(settings: Settings, positions: int) -> int:
    """Assert that every position is in the topic, first occurrences are in order, and repetitions have equal bytes.

    Returns the number of repetitions.
    """
    records = records_of(settings, at_least=positions)
    first: dict[int, Published] = {}
    newest: dict[int, int] = {}
    for record in records:
        if record.position in first:
            assert record == first[record.position], "a repetition differs from the first record"
            continue
        first[record.position] = record
        assert record.position > newest.get(record.partition, 0), "a record is out of order"
        newest[record.partition] = record.position
    missing = set(range(1, positions + 1)) - first.keys()
    assert not missing, f"{len(missing)} positions are not in the topic, the first {min(missing)}"
    return len(records) - len(first)
