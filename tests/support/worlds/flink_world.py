"""A log whose events a test publishes itself, and the states that they must lead to: for the jobs on Flink."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Producer

from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.cdc.gap_fill import EventsTable
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.kafka.clients import bootstrap, make_publisher
from infrastructure.kafka.topics import topics
from infrastructure.observability.stage_reports import read_stages
from infrastructure.settings.settings import Settings
from projections.core.fold import Fold
from projections.core.projection import Projection
from tests.support.postgres.many_events import many_events

CHUNK = 2_000


class PublishedLog:
    """Records pings of RIDERS and publishes them to Kafka, as ingest and tailer do."""

    def __init__(self, settings: Settings, riders: int) -> None:
        self.backends = Backends(settings)
        self._recorder = EventRecorder(self.backends.writer_engine)
        self._table = EventsTable(self.backends.engine, topics(settings), settings.topic_partitions)
        self._publisher = make_publisher(settings)
        self._bootstrap, self._topic = bootstrap(settings), topics(settings)["Rider"]
        self._riders = riders
        self._recorded = 0

    @property
    def recorded(self) -> int:
        """Events that the log has."""
        return self._recorded

    def publish(self, count: int) -> None:
        """Record and publish the next ``count`` pings; returns once Kafka has acknowledged them."""
        recorded, self._recorded = self._recorded, self._recorded + count
        events = many_events(self.backends.codec, count, self._riders, first=recorded)
        position = self.backends.log.head("Rider").position
        for first in range(0, count, CHUNK):
            self._recorder.insert_events(events[first : first + CHUNK])
            position = self._send(position, position + CHUNK)
        self._acknowledged()

    def publish_again(self, count: int) -> None:
        """Publish the last ``count`` events once more, as a tailer does that was killed before its checkpoint."""
        head = self.backends.log.head("Rider").position
        position = head - count
        while position < head:
            position = self._send(position, min(head, position + CHUNK))
        self._acknowledged()

    def publish_foreign(self) -> None:
        """Publish a record that is no event of the log. A worker skips it, with a line in its log."""
        producer = Producer({"bootstrap.servers": self._bootstrap})
        producer.produce(self._topic, b"foreign", b"foreign", 0)
        assert producer.flush(20) == 0

    def _send(self, after: int, upto: int) -> int:
        """Hand the events in (``after``, ``upto``] to the publisher. Returns the last position."""
        chunk = self._table.read(after, upto)
        assert chunk is not None
        left = list(chunk.records)
        while left:
            left = left[self._publisher.publish(after, left) :]
            if left:
                self._publisher.acknowledged(0.1)
        self._publisher.seal(after)
        return chunk.last

    def _acknowledged(self) -> None:
        while self._publisher.in_flight():
            self._publisher.acknowledged(0.5)

    def behind(self, projection: Projection[Any], generation: int = 1) -> int:
        """Events that the generation has not folded yet."""
        head = self.backends.log.head(projection.stream)
        fences = self.backends.stores.sink(projection, generation).fences(range(SHARDS))
        return sum(seq - (0 if fence is None else fence.seq) for seq, fence in zip(head.seqs, fences, strict=True))

    def stored(
        self, projection: Projection[Any], generation: int = 1, backends: Backends | None = None
    ) -> dict[str, bytes]:
        """Each key's state in the store; ``backends``: of another store than the log's own."""
        sink = (backends or self.backends).stores.sink(projection, generation)
        return {key: state for shard in range(SHARDS) for key, state in sink.dump(shard).states.items()}

    def folded(self, projection: Projection[Any]) -> dict[str, bytes]:
        """Each key's state by the pure fold of all events."""
        log = self.backends.log
        events = log.read_positions(projection.stream, range(SHARDS), 0, log.head(projection.stream).position)
        fold = Fold(projection, self.backends.decode, lambda: 0)
        return dict(fold.run(events, lambda _: None, (), frozenset()).encoded)

    def shards_held(self, stage: str) -> int:
        """Shards that live workers report to hold, over all of them."""
        reports = read_stages(self.backends.engine)
        return sum(one.progress.detail.get("shards", 0) for one in reports if one.stage == stage and one.connected)

    def counted(self, stage: str, what: str) -> int:
        """A counter over all live workers of a stage."""
        reports = read_stages(self.backends.engine)
        return sum(one.progress.detail.get(what, 0) for one in reports if one.stage == stage and one.connected)

    def close(self) -> None:
        self._publisher.close()
        self.backends.close()
