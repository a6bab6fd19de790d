"""Gathers the facts that ``status`` shows, from the servers themselves."""

from __future__ import annotations

import time

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.cdc.slot import slot_state
from infrastructure.event_store import migrations
from infrastructure.event_store.engine import reader_engine
from infrastructure.event_store.generations import active
from infrastructure.event_store.head import read_head
from infrastructure.kafka.admin import TopicError, ensure_topics
from infrastructure.observability.stages import newest, read_stages
from infrastructure.redis.connection import connect
from infrastructure.redis.sink import RedisSink
from infrastructure.settings import Settings
from infrastructure.status.judge import Head, Line, Status, log_line, slot_line, stage_line, whole
from infrastructure.topics import topics
from infrastructure.user_error import UserError
from projections.catalogue import PROJECTIONS
from projections.ports import PortUnavailable


def collect(settings: Settings) -> Status:
    """Raises UserError when Postgres cannot be asked: without the head of the log nothing can be judged."""
    assert settings.postgres_url is not None
    engine = reader_engine(settings.postgres_url)
    try:
        revision = migrations.revision(settings.postgres_url)
        if not revision.is_current:
            raise UserError(f"the database is at revision {revision.current}: run `python app.py migrate`")
        return _collect(settings, engine)
    except SQLAlchemyError as error:
        raise UserError(f"Postgres does not answer: {str(error).splitlines()[0]}") from error
    finally:
        engine.dispose()


def _collect(settings: Settings, engine: Engine) -> Status:
    with engine.connect() as connection:
        found = read_head(connection)
        slot = slot_state(connection, settings.slot_name)
    reports = newest(read_stages(engine))
    now_ms = time.time_ns() // 1_000_000
    head = Head(str(found.log_id), found.position, found.recorded_at_ms)
    lines = [
        log_line(head, now_ms),
        slot_line(slot.retained_bytes if slot else None, slot.wal_status if slot else None, found.position),
        stage_line("tailer", reports.get("tailer"), head, now_ms),
        _kafka(settings),
    ]
    for name, projection in PROJECTIONS.items():
        lag = _lag(settings, name, active(engine, name), found.shards_of(projection.stream))
        lines.append(stage_line(name, reports.get(name), head, now_ms, lag=lag))
    return whole(head.log_id, lines)


def _kafka(settings: Settings) -> Line:
    if settings.kafka_bootstrap is None:
        return Line("kafka", "not running", 0, advice="start `python app.py serve`")
    names = list(topics(settings).values())
    try:
        ensure_topics(settings.kafka_bootstrap, names, settings.topic_partitions)
    except TopicError as error:
        return Line("kafka", str(error), 0, advice="start it; nothing is lost, the tailer waits for it")
    return Line("kafka", f"{', '.join(names)} by {settings.topic_partitions} partitions", 0)


def _lag(settings: Settings, projection: str, generation: int | None, seqs: list[int]) -> int | None:
    """Events between the fences in the sink and the head; None when the sink cannot be asked."""
    if generation is None or settings.redis_url is None:
        return None
    client = connect(settings.redis_url)
    try:
        fences = RedisSink(client, projection, generation).fences(range(len(seqs)))
    except PortUnavailable:
        return None
    finally:
        client.close()
    return sum(max(0, seq - (fence.seq if fence else 0)) for seq, fence in zip(seqs, fences, strict=True))
