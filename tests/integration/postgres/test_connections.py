"""How every process is connected to Postgres, whatever its environment says."""

from __future__ import annotations

import pytest
from sqlalchemy import make_url, text

from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import connect_args, writer_engine
from tests.support.postgres.log_events import events_of


def test_regression_ids_of_riders_are_utf_8_whatever_the_environment_says(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "latin1")
    engine = writer_engine(postgres_url)
    EventRecorder(engine).insert_events(events_of("Zoë", 1, 1))
    with engine.connect() as connection:
        (key,) = connection.execute(text("SELECT convert_to(aggregate_key, 'UTF8') FROM events")).scalars()
    assert bytes(key) == "Zoë".encode()
    engine.dispose()


def test_what_the_url_says_of_a_connection_wins() -> None:
    url = make_url("postgresql://somewhere/db?keepalives_idle=60")
    assert "keepalives_idle" not in connect_args(url)
    assert connect_args(url)["tcp_user_timeout"] == "30000"
