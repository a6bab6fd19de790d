"""Lives of relays against real servers, and what they have published."""

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
    settings: Settings, engine: Engine, took: Callable[[float], None] = lambda seconds: None
) -> AbstractContextManager[WalRelay | PollingRelay]:
    """The relay that the settings name. Raises SlotInUse, RelayInUse."""
    if settings.relay == "polling":
        return polling_relay(settings, engine, lambda seconds: None)
    return wal_relay(settings, engine, took)


class Life:
    """One life of a relay, ended as abruptly as kill -9 would: nothing is confirmed on the way out."""

    def __init__(
        self, settings: Settings, engine: Engine, took: Callable[[float], None] = lambda seconds: None
    ) -> None:
        """``took`` is told how long each heartbeat took, in seconds."""
        self._stack = ExitStack()
        self._marks = RelayCheckpointStore(engine, settings.slot_name)

        def opened() -> WalRelay | PollingRelay | None:
            try:
                return self._stack.enter_context(relay_of(settings, engine, took))
            except (SlotInUse, RelayInUse):
                return None  # the server has not let go of the life before: waited for, as a standby does

        relay = eventually(opened, what="the relay has its slot or its lock")
        assert relay is not None
        self.relay = relay
        self.progress = relay.transactions.progress

    def until(self, reached: Callable[[], bool], what: str) -> None:
        """Step until it is so."""

        def stepped() -> bool:
            self.relay.step(0.01)
            return reached()

        eventually(stepped, within_s=120, every_s=0, what=what)

    def until_acknowledged(self, position: int) -> None:
        self.until(lambda: (self.progress.position or 0) >= position, f"position {position} is acknowledged")

    def until_stored(self, position: int) -> None:
        """Step until the mark in Postgres is at ``position``: the next life repeats nothing up to it.

        The mark is stored at most once a second, so an acknowledged position alone may be published once more.
        """
        self.until(lambda: self._stored() >= position, f"the mark is stored at position {position}")

    def until_raises(self, error: type[Exception], what: str) -> None:
        """Step until that error comes."""

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
        mark = self._marks.read()
        return mark.position if mark is not None else 0


class Published(NamedTuple):
    """One record as a consumer gets it."""

    partition: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    @property
    def position(self) -> int:
        return int(dict(self.headers)["position"])


def records_of(settings: Settings, stream: str = "Rider", at_least: int = 0) -> list[Published]:
    """All records of the stream's topic, ``at_least`` so many, in the order of their partitions."""
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": "test"})
    topic = topics(settings)[stream]
    partitions = range(settings.topic_partitions)
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
    # The end offsets of the embedded broker do not count the last batch: what lies behind them ends by silence.
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
    """(shard, seq, value) of all records, in the order of their partitions."""
    return [
        (shard_of(record.key.decode()), int(dict(record.headers)["seq"]), record.value)
        for record in records_of(settings)
    ]


def assert_whole(settings: Settings, positions: int) -> int:
    """Every position is in the topic, the first times in order, repetitions the same bytes; the number of these."""
    records = records_of(settings, at_least=positions)
    first: dict[int, Published] = {}
    newest: dict[int, int] = {}
    for record in records:
        if record.position in first:
            assert record == first[record.position], "a repetition that is not the same record"
            continue
        first[record.position] = record
        assert record.position > newest.get(record.partition, 0), "a record came before an earlier one"
        newest[record.partition] = record.position
    lacking = set(range(1, positions + 1)) - first.keys()
    assert not lacking, f"{len(lacking)} positions are not in the topic, the first {min(lacking)}"
    return len(records) - len(first)
