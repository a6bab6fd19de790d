"""Gathers the facts that ``status`` shows, from the servers themselves."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from domain.contracts import Codec
from infrastructure.cdc.slot import slot_state
from infrastructure.event_store import migrations
from infrastructure.event_store.engine import reader_engine
from infrastructure.event_store.generations import PostgresGenerations
from infrastructure.event_store.head import Head as LogHead
from infrastructure.event_store.head import read_head
from infrastructure.kafka.admin import TopicError, ensure_topics
from infrastructure.observability.freshness import before_commit, delay_of_shards
from infrastructure.observability.stages import newest, read_stages
from infrastructure.redis.connection import connect
from infrastructure.registry.connect import schema_ids
from infrastructure.settings import Settings
from infrastructure.sinks import Stores
from infrastructure.status.judge import (
    Head,
    Line,
    Own,
    Status,
    device_line,
    ingest_line,
    log_line,
    slot_line,
    stage_line,
    whole,
)
from infrastructure.topics import topics
from infrastructure.user_error import UserError
from projections.catalogue import PROJECTIONS
from projections.generations import active
from projections.ports import PortUnavailable
from projections.protocol import Projection


def collect(settings: Settings, *, served: bool = True) -> Status:
    """``served``: whether a `serve` is running; else its last reports are of the past.

    Raises UserError when Postgres cannot be asked: without the head of the log nothing can be judged.
    """
    assert settings.postgres_url is not None
    engine = reader_engine(settings.postgres_url)
    try:
        revision = migrations.revision(settings.postgres_url)
        if not revision.is_current:
            raise UserError(f"the database is at revision {revision.current}: run `python app.py migrate`")
        return _collect(settings, engine, served)
    except SQLAlchemyError as error:
        raise UserError(f"Postgres does not answer: {str(error).splitlines()[0]}") from error
    finally:
        engine.dispose()


def _collect(settings: Settings, engine: Engine, served: bool) -> Status:
    now_ms = time.time_ns() // 1_000_000
    late_after_s = 2 * settings.target_freshness_ms / 1000
    reports = newest(read_stages(engine))
    with engine.connect() as connection:
        found = read_head(connection)
        slot = slot_state(connection, settings.slot_name)
        before = before_commit(connection, found.position, Codec(schema_ids(settings, engine)).decode)
        owns = {p.name: _own(settings, engine, connection, p, found) for p in PROJECTIONS.values()}
    head = Head(str(found.log_id), found.position, found.recorded_at_ms)
    tailer = stage_line("tailer", reports.get("tailer"), head, late_after_s, served=served)
    projections = [
        stage_line(name, reports.get(name), head, late_after_s, own, served=served) for name, own in owns.items()
    ]
    late = any(line.state == "late" or line.state.startswith("silent") for line in (tailer, *projections))
    lines = [
        device_line(before, now_ms, late_after_s, late),
        ingest_line(before, late_after_s),
        log_line(head),
        slot_line(slot.retained_bytes if slot else None, slot.wal_status if slot else None, found.position),
        tailer,
        _kafka(settings),
        *projections,
    ]
    return whole(head.log_id, lines)


def _kafka(settings: Settings) -> Line:
    if settings.kafka_bootstrap is None:
        return Line("kafka", "not running", None, advice="start `python app.py serve`")
    names = list(topics(settings).values())
    try:
        ensure_topics(settings.kafka_bootstrap, names, settings.topic_partitions)
    except TopicError as error:
        return Line("kafka", str(error), None, advice="start it; nothing is lost, the tailer waits for it")
    return Line("kafka", f"{', '.join(names)} by {settings.topic_partitions} partitions", None)


def _own(settings: Settings, engine: Engine, connection: Connection, projection: Projection[Any], head: LogHead) -> Own:
    """What the sink itself says of the generation that is served; nothing when it cannot be asked."""
    live = active(PostgresGenerations(engine).all(projection.name))
    if live is None or settings.redis_url is None:
        return Own()
    client = connect(settings.redis_url)
    try:
        sink = Stores(engine, client).sink(projection, live.number)
        seqs = head.shards_of(projection.stream)
        fences = {s: f.seq if f else 0 for s, f in enumerate(sink.fences(range(len(seqs))))}
        parked = sum(len(marks) for marks in sink.parked(range(len(seqs))).values())
    except PortUnavailable:
        return Own(due=not live.is_of(projection))
    finally:
        client.close()
    lag = sum(max(0, seqs[shard] - seq) for shard, seq in fences.items())
    delay_s = delay_of_shards(connection, projection.stream, fences, seqs)
    return Own(lag, delay_s, parked, not live.is_of(projection))
