"""Looks whether the topics are there, and are those that were published to before.

A topic that was deleted is missed by nobody else: projections wait for partitions of it, a publisher for its leaders,
both for ever.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.cdc.guard import known_ids, other_topics
from infrastructure.cdc.marks import Marks
from infrastructure.kafka.admin import TopicError, ensure_topics, topic_ids
from infrastructure.kafka.errorlog import ErrorLog
from infrastructure.kafka.factory import bootstrap
from infrastructure.settings import Settings
from infrastructure.topics import topics

log = logging.getLogger("ridelog.tailer")

EVERY_S = 5.0


class TopicWatch:
    """Of the topics of all streams, against the ids that the relay's mark has noted."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._marks = Marks(engine, settings.slot_name)
        self._errors = ErrorLog(log, "the topics cannot be looked at")
        self._noted: dict[str, str] | None = None

    def look(self) -> None:
        """Make the topics that are missing, and say which are not those that were published to before.

        Those are not published anew from the start: the mark says what was published, not what Kafka still has.
        Raises TopicError, SQLAlchemyError.
        """
        names = list(topics(self._settings).values())
        ensure_topics(bootstrap(self._settings), names, self._settings.topic_partitions)
        found = known_ids(topic_ids(bootstrap(self._settings), names))
        if found == self._noted:
            return
        mark = self._marks.read()
        if other := other_topics(mark, found):
            log.warning(
                "topics %s were made anew: they go on behind position %d; projections take what is before from the "
                "event store",
                ", ".join(other),
                mark.position if mark is not None else 0,
            )
        self._marks.note_topics(found)
        self._noted = found

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
        while not ended.wait(EVERY_S):
            try:
                self.look()
            except (TopicError, SQLAlchemyError) as error:
                self._errors.warn("look", error)
