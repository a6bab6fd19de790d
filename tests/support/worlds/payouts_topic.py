"""Workers of payouts around a real Postgres and a real broker, and a reader that uses only the topic ``payouts``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from io import BytesIO
from typing import Any

import fastavro
from sqlalchemy import text

from domain.events.contracts import Codec, current, split_frame
from domain.features.keyed_event import KeyedEvent
from infrastructure.backends import Backends
from infrastructure.kafka.clients import bootstrap, make_publisher
from infrastructure.kafka.ports import ProducerRecord, Publisher
from infrastructure.kafka.topics import published_topic
from infrastructure.settings.settings import Settings
from infrastructure.sinks.compacted_topic import PublishingGeneration
from infrastructure.sinks.kafka_compacted_topic import KafkaCompactedTopic
from infrastructure.sinks.published_rows import PublishedRows
from infrastructure.sinks.row_topic import RowTopic, RowTopicSink
from infrastructure.sinks.topic_publisher import SynchronousPublisher
from infrastructure.sinks.uncertain_records import UncertainRecords
from projections.core.ports import LoggedEvent, PortUnavailable, Sink
from projections.core.projection import Projection
from projections.live.stream_follower import StreamFollower
from projections.payouts import PAYOUTS
from read_models.payouts.published import TOPIC
from read_models.payouts.rows import COLUMNS, changes
from tests.support.ports_in_memory.projection_ports import MemoryLog, ScriptedTopic
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.worlds.locations import read_records
from tests.support.worlds.payout_events import ended, ping, ride, started

PARTITIONS = 8
SCHEMA = fastavro.parse_schema(current("PayoutEntry").schema)
RIDERS = ("anna", "ben", "cem")

Hook = Callable[[], None]


def nothing() -> None:
    """Does not interfere."""


def always() -> bool:
    """The generation is active."""
    return True


class DeliveredPublisher(SynchronousPublisher):
    """``before`` and ``after`` run around each batch that the broker acknowledges; what they raise ends the worker."""

    before: Hook = staticmethod(nothing)
    after: Hook = staticmethod(nothing)

    def __init__(self, open_publisher: Callable[[], Publisher], identity: Callable[[], str]) -> None:
        super().__init__(open_publisher, identity)
        self.batches: list[list[ProducerRecord]] = []
        """What was acknowledged."""

    def publish(self, records: Iterable[ProducerRecord]) -> int:
        self.before()
        batch = list(records)
        count = super().publish(batch)
        self.batches.append(batch)
        self.after()
        return count


class PayoutTopicWorld:
    """The log is in memory; workers come and go around Postgres and the broker."""

    def __init__(self, settings: Settings, backends: Backends, stack: ExitStack) -> None:
        self.settings = settings
        self.backends = backends
        self.log = MemoryLog()
        self.name = published_topic(settings, TOPIC)
        self.page_rows = 1_000
        self._stack = stack
        backends.generations.first(PAYOUTS)

    def deliver(self, rider: str, order: str, t_s: float = 0.0) -> list[LoggedEvent]:
        """A delivery: a payout for its leg. And a late ping in it, so an adjustment."""
        events = [
            started(order, t_s),
            *ride(int(t_s), int(t_s) + 100),
            ended(order, t_s + 200),
            ping(t_s + 150, 1_500.0, number=order),
        ]
        return [self.log.append(rider, kind, {**data, "rider_id": rider}) for kind, data in events]

    def worker(
        self,
        generation: int = 1,
        *,
        is_active: Callable[[], bool] = lambda: True,
        projection: Projection[Any] = PAYOUTS,
        uncertain: UncertainRecords | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> PayoutTopicWorker:
        sink = self.backends.stores.sink(projection, generation)
        publisher = DeliveredPublisher(
            lambda: make_publisher(self.settings),
            KafkaCompactedTopic(bootstrap(self.settings), self.name, PARTITIONS).identity,
        )
        self._stack.callback(publisher.close)
        publication = PAYOUTS.row_publication
        assert publication is not None
        encode = Codec(LocalSchemaIds()).encode
        rows = PublishedRows(
            self.backends.sink_engine,
            PAYOUTS.name,
            generation,
            publication.table,
            lambda row: encode(publication.record, publication.values(row)),
            UncertainRecords(self.backends.sink_engine) if uncertain is None else uncertain,
            self.page_rows,
        )
        topic = RowTopic(self.name, PARTITIONS, publication.table.table.name, publisher, rows)
        of = PublishingGeneration("Rider", generation, is_active)
        publishing = RowTopicSink(sink, of, topic, self.log, clock)
        return PayoutTopicWorker(self, publishing, publisher, projection)

    def silent_worker(self) -> PayoutTopicWorker:
        """A worker that ends between the sink and the topic."""
        return PayoutTopicWorker(self, self.backends.stores.sink(PAYOUTS, 1), None, PAYOUTS)

    def rebuild(self, projection: Projection[Any] = PAYOUTS) -> int:
        """Another generation with the whole log, not served yet."""
        number = self.backends.generations.begin(projection).number
        sink = self.backends.stores.sink(projection, number)
        PayoutTopicWorker(self, sink, None, projection).reads()
        return number

    def end_open_transactions(self) -> int:
        """End the sessions that are idle in a transaction, as the server does to a frozen client. Returns how many."""
        ended = text(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state = 'idle in transaction'"
        )
        with self.backends.engine.begin() as connection:
            return len(connection.execute(ended).all())

    def switch(self, generation: int) -> None:
        with self.backends.engine.begin() as connection:
            change = "UPDATE projection_generations SET active = {} WHERE projection = 'payouts' AND generation {} :g"
            connection.execute(text(change.format("false", "<>")), {"g": generation})
            connection.execute(text(change.format("true", "=")), {"g": generation})

    def records(self) -> list[tuple[bytes, bytes]]:
        """Key and value of all that is on the topic, those of a key in their order."""
        return sorted(read_records(bootstrap(self.settings), self.name), key=lambda record: record[0])

    def shown(self) -> dict[str, dict[str, Any]]:
        """What a reader knows at the end: of each key the last record; an empty value removes it."""
        return shown(self.records())

    def is_shown(self, projection: Projection[Any] = PAYOUTS) -> bool:
        return self.shown() == expected(self.log.events, projection)


class PayoutTopicWorker:
    """A follower of the stream whose sink publishes."""

    def __init__(
        self,
        world: PayoutTopicWorld,
        sink: Sink,
        publisher: DeliveredPublisher | None,
        projection: Projection[Any],
    ) -> None:
        self.sink = sink
        self.publisher = publisher
        self.topic = ScriptedTopic(PARTITIONS)
        self.runner: StreamFollower[Any] = StreamFollower(
            projection, log_port=world.log, consumer=self.topic, sink=sink, decode=json.loads, partitions=PARTITIONS
        )

    def reads(self, events: Sequence[LoggedEvent] = ()) -> None:
        if events:
            self.topic.deliver(events)
        self.runner.step(0)
        self.runner.idle_check()

    def dies(self, events: Sequence[LoggedEvent] = ()) -> bool:
        """Whether a hook ended it."""
        try:
            self.reads(events)
        except PortUnavailable:
            return True
        return False


def shown(records: Iterable[tuple[bytes, bytes]]) -> dict[str, dict[str, Any]]:
    kept: dict[str, dict[str, Any]] = {}
    for key, value in records:
        if not value:
            kept.pop(key.decode(), None)
            continue
        data = fastavro.schemaless_reader(BytesIO(split_frame(value)[1]), SCHEMA, None)
        assert isinstance(data, dict)
        assert data["entry_id"] == key.decode()
        kept[key.decode()] = data
    return kept


def expected(events: Iterable[LoggedEvent], projection: Projection[Any] = PAYOUTS) -> dict[str, dict[str, Any]]:
    """Every entry by its id, from a fold of the events."""
    states: dict[str, Any] = {}
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        data = json.loads(event.payload)
        keyed = KeyedEvent(event.key, event.version, event.position, event.event_type, data)
        states[event.key] = projection.fold(states.get(event.key, projection.initial), keyed)
        for change in changes(event.key, states[event.key]):
            row = dict(zip(COLUMNS, change.latest or (), strict=True))
            ended_at = row.pop("ended_at")
            found[change.key[0]] = {**row, "entry_id": change.key[0], "ended_at_ms": round(ended_at.timestamp() * 1000)}
    return found
