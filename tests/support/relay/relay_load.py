"""A database with topics and a write load, without the other processes of ridelog."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from infrastructure.event_store.log_head import read_head
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.kafka.admin import ensure_topics
from infrastructure.kafka.topics import topics
from infrastructure.postgres.engine import writer_engine
from infrastructure.settings.settings import Settings
from tests.support.postgres.log_events import events_of


@contextmanager
def with_topics(settings: Settings) -> Iterator[Engine]:
    assert settings.postgres_url is not None
    assert settings.kafka_bootstrap is not None
    ensure_topics(settings.kafka_bootstrap, list(topics(settings).values()), settings.topic_partitions)
    engine = writer_engine(settings.postgres_url)
    yield engine
    engine.dispose()


def head_of(engine: Engine) -> int:
    """The position of the last event."""
    with engine.connect() as connection:
        return read_head(connection).position


@contextmanager
def writing(settings: Settings) -> Iterator[Callable[[], int]]:
    """Write events during the block. Yields a function that returns the position of the last recorded event."""
    assert settings.postgres_url is not None
    engine, stop = writer_engine(settings.postgres_url), threading.Event()
    recorder = EventRecorder(engine)

    def write() -> None:
        number = 0
        while not stop.wait(0.005):  # a load, not a synchronisation
            recorder.insert_events(events_of(f"rider-{number % 7}", 1 + number // 7 * 50, 50))
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield lambda: head_of(engine)
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
