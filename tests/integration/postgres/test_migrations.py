"""The schema: what the migrations make is what the code declares."""

from __future__ import annotations

from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres import migrations
from infrastructure.postgres.engine import reader_engine
from tests.support.postgres.log_events import events_of


def test_the_models_and_the_migrations_agree(postgres_url: str) -> None:
    engine = reader_engine(postgres_url)
    EventRecorder(engine).insert_events(events_of("anna", 1, 1))
    engine.dispose()
    migrations.check(postgres_url)
    assert migrations.revision(postgres_url).is_current


def test_migrations_go_down_and_up_again(empty_postgres_url: str) -> None:
    assert migrations.revision(empty_postgres_url).current is None
    migrations.upgrade(empty_postgres_url)
    migrations.downgrade(empty_postgres_url, "base")
    migrations.upgrade(empty_postgres_url)
    migrations.check(empty_postgres_url)
