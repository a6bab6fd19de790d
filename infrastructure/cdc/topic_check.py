"""Whether the topic ends with records of this log, or with what a restore has taken back (invariant 14).

Projections need not care: they follow their fences. Other readers of the topics have read what is not true any more.
"""

from __future__ import annotations

import logging

from sqlalchemy import Engine, text

from infrastructure.cdc.guard import beyond_this_log
from infrastructure.event_store.head import read_head
from infrastructure.event_store.restores import Found, note
from infrastructure.kafka.last_records import last_records

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
    beyond = beyond_this_log(last, {int(row[0]): str(row[1]) for row in rows}, head.position)
    if beyond is None:
        return
    words = (
        f"it holds events up to position {beyond} that are not of this log, which ended at {head.position}: "
        "projections pass them over, other readers have to be told"
    )
    log.error("topic %s: %s; see docs/backup.md", topic, words)
    note(engine, Found(f"topic {topic}", words, beyond, head.position))
