"""Wraps a projection's sink so that it publishes its rows to a compacted topic, if the projection declares one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from infrastructure.kafka.topics import published_topic
from infrastructure.settings.settings import Settings
from infrastructure.sinks.compacted_topic import PublishingGeneration
from infrastructure.sinks.compacted_topic_factory import topic_publisher
from infrastructure.sinks.published_rows import PublishedRows
from infrastructure.sinks.row_topic import RowTopic, RowTopicSink
from infrastructure.sinks.topic_publisher import Encode
from infrastructure.sinks.uncertain_records import UncertainRecords
from projections.core.ports import EventLog, Sink
from projections.core.projection import Projection

ACKNOWLEDGEMENT_TIMEOUT_S = 8.0
"""Shorter than the server lets a transaction be idle (``infrastructure.postgres.engine.WRITER_TIMEOUTS``)."""


@dataclass(frozen=True)
class RowTopicFactory:
    """What every sink of a process needs that publishes rows. ``encode`` frames a record under its contract."""

    settings: Settings
    engine: Engine
    log_port: EventLog
    encode: Encode
    uncertain: UncertainRecords
    """Outlives the factory: a worker makes one after each failure."""

    @contextmanager
    def publishing(
        self, projection: Projection[Any], generation: int, sink: Sink, is_active: Callable[[], bool]
    ) -> Iterator[Sink]:
        """Yield the publishing sink, or ``sink`` itself if the projection publishes no rows.

        No broker is contacted before the generation is active.
        """
        publication = projection.row_publication
        if publication is None:
            yield sink
            return
        name = published_topic(self.settings, publication.topic)
        publisher = topic_publisher(self.settings, name, acknowledgement_timeout_s=ACKNOWLEDGEMENT_TIMEOUT_S)
        rows = PublishedRows(
            self.engine,
            projection.name,
            generation,
            publication.table,
            lambda row: self.encode(publication.record, publication.values(row)),
            self.uncertain,
        )
        table = publication.table.table.name
        topic = RowTopic(name, self.settings.topic_partitions, table, publisher, rows)
        try:
            yield RowTopicSink(
                sink, PublishingGeneration(projection.stream, generation, is_active), topic, self.log_port
            )
        finally:
            publisher.close()
