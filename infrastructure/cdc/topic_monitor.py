"""Whether the topic ends with records of this log, or with what a restore has taken back (invariant 14).

Projections need not care: they follow their fences. Other readers of the topics have read what is not true any more.
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
from infrastructure.kafka.throttled_log import ThrottledLogger
from infrastructure.kafka.topics import topics
from infrastructure.postgres.restore_findings import RestoreFinding, record_finding
from infrastructure.settings.settings import Settings

log = logging.getLogger("ridelog.tailer")

_IDS = text("SELECT position, event_id::text FROM events WHERE position = ANY(:positions)")


def check_topic(engine: Engine, bootstrap: str, topic: str, partitions: int) -> None:
    """Put on record what the end of ``topic`` shows. Raises TopicError, SQLAlchemyError, PortUnavailable."""
    last = last_records(bootstrap, topic, partitions)
    if not last:
        return
    with engine.connect() as connection:
        rows = connection.execute(_IDS, {"positions": [record.position for record in last]}).all()
        # After the topic: whatever was on it then, if it is of this log, was committed before.
        head = read_head(connection)
    beyond = highest_foreign_position(last, {int(row[0]): str(row[1]) for row in rows}, head.position)
    if beyond is None:
        return
    words = (
        f"it holds events up to position {beyond} that are not of this log, which ended at {head.position}: "
        "projections pass them over, other readers have to be told"
    )
    log.error("topic %s: %s; see docs/backup.md", topic, words)
    record_finding(engine, RestoreFinding(f"topic {topic}", words, beyond, head.position))


TOPIC_CHECK_INTERVAL_S = 5.0


class TopicMonitor:
    """Of the topics of all streams, against the ids that the relay's checkpoint has noted."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._checkpoints = RelayCheckpointStore(engine, settings.slot_name)
        self._errors = ThrottledLogger(log, "the topics cannot be looked at")
        self._saved_ids: dict[str, str] | None = None

    def check(self) -> None:
        """Make the topics that are missing, and say which are not those that were published to before.

        Those are not published anew from the start: the checkpoint says what was published, not what Kafka still has.
        Raises TopicError, SQLAlchemyError.
        """
        names = list(topics(self._settings).values())
        ensure_topics(bootstrap(self._settings), names, self._settings.topic_partitions)
        found = known_ids(topic_ids(bootstrap(self._settings), names))
        if found == self._saved_ids:
            return
        checkpoint = self._checkpoints.read()
        if other := recreated_topics(checkpoint, found):
            log.warning(
                "topics %s were made anew: they go on behind position %d; projections take what is before from the "
                "event store",
                ", ".join(other),
                checkpoint.position if checkpoint is not None else 0,
            )
        self._checkpoints.save_topic_ids(found)
        self._saved_ids = found

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look every few seconds during the block, in a thread of its own: the relay must not wait for an answer."""
        ended = threading.Event()
        thread = threading.Thread(target=self._watch, args=(ended,), name="topic-watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            # Not joined: a broker that is away would keep the next life waiting for its time-outs.
            ended.set()

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(TOPIC_CHECK_INTERVAL_S):
            try:
                self.check()
            except (TopicError, SQLAlchemyError) as error:
                self._errors.warn("check", error)
