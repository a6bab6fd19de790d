"""Checks that the topics exist, are the ones published to before, and end with records of this log (invariant 14).

No other process detects a deleted topic: projections wait for its partitions, and a publisher for its leaders, both
forever. After a restore, the end of a topic may hold events that the log no longer has. Projections ignore those,
because they follow their fences; other readers of the topics have read them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.cdc.relay_checkpoint import RelayCheckpointStore
from infrastructure.cdc.wal_relay import highest_foreign_position, known_ids, recreated_topics
from infrastructure.event_store.log_head import read_head
from infrastructure.kafka.admin import TopicError, ensure_topics, last_records, topic_ids
from infrastructure.kafka.clients import bootstrap
from infrastructure.kafka.topics import topics
from infrastructure.observability.throttled_log import ThrottledLogger
from infrastructure.postgres.restore_findings import RestoreFinding, record_finding
from infrastructure.settings.settings import Settings

log = logging.getLogger("ridelog.tailer")

_IDS = text("SELECT position, event_id::text FROM events WHERE position = ANY(:positions)")


def check_topic(engine: Engine, bootstrap: str, topic: str, partitions: int) -> None:
    """Compare the last records of ``topic`` with the log, and record a finding if some do not match.

    Raises TopicError, SQLAlchemyError, PortUnavailable and SinkRejected.
    """
    last = last_records(bootstrap, topic, partitions)
    if not last:
        return
    with engine.connect() as connection:
        rows = connection.execute(_IDS, {"positions": [record.position for record in last]}).all()
        # Read after the topic: every record of this log that was on it had been committed before.
        head = read_head(connection)
    beyond = highest_foreign_position(last, {int(row[0]): str(row[1]) for row in rows}, head.position)
    if beyond is None:
        return
    message = (
        f"it holds events up to position {beyond} that do not match this log, which ended at {head.position}: "
        "projections skip them, other readers have to be notified"
    )
    log.error("topic %s: %s; see docs/backup.md", topic, message)
    record_finding(engine, RestoreFinding(f"topic {topic}", message, beyond, head.position))


TOPIC_CHECK_INTERVAL_S = 5.0


class TopicMonitor:
    """Compares the topics of all streams with the ids in the relay's checkpoint."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._checkpoints = RelayCheckpointStore(engine, settings.slot_name)
        self._errors = ThrottledLogger(log, "the topics cannot be checked")
        self._saved_ids: dict[str, str] | None = None

    def check(self) -> None:
        """Create missing topics, and log which ones are not those that were published to before.

        Recreated topics are not published again from the start: the checkpoint records what was published, not what
        Kafka still has. Raises TopicError, SQLAlchemyError.
        """
        names = list(topics(self._settings).values())
        ensure_topics(bootstrap(self._settings), names, self._settings.topic_partitions)
        found = known_ids(topic_ids(bootstrap(self._settings), names))
        if found == self._saved_ids:
            return
        checkpoint = self._checkpoints.read()
        if other := recreated_topics(checkpoint, found):
            log.warning(
                "topics %s were recreated: they continue after position %d; projections read earlier events from the "
                "event store",
                ", ".join(other),
                checkpoint.position if checkpoint is not None else 0,
            )
        self._checkpoints.save_topic_ids(found)
        self._saved_ids = found

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Check every few seconds during the block, in a separate thread: the relay must not wait for the answers."""
        ended = threading.Event()
        thread = threading.Thread(target=self._watch, args=(ended,), name="topic-watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            # Not joined: with an unavailable broker, the restart would wait for the time-outs of this thread.
            ended.set()

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(TOPIC_CHECK_INTERVAL_S):
            try:
                self.check()
            except (TopicError, SQLAlchemyError) as error:
                self._errors.warn("check", error)
