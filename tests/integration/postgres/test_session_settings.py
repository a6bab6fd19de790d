"""What a server, a database or a role sets for its sessions does not change what we write, read and publish."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, text

from domain.identifiers import shard_of
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine, sink_engine, writer_engine
from infrastructure.settings.settings import Settings
from tests.support.postgres.log_events import events_of
from tests.support.relay.relay_life import Life, published
from tests.support.relay.relay_load import with_topics
from tests.support.servers.database_settings import HOSTILE, set_for_database
from tests.support.servers.installation_in_schema import with_schema
from tests.support.servers.nodes import TOKENS, ServeNode
from tests.support.waiting import eventually

OURS = {
    "bytea_output": "hex",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "default_transaction_isolation": "read committed",
    "transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "row_security": "off",
    "standard_conforming_strings": "on",
    "client_encoding": "UTF8",
    "synchronous_commit": "on",
}
UNBOUNDED = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
}
BOUNDED = UNBOUNDED | {
    "transaction_timeout": "30s",
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "20s",
}


def shown(engine: Engine, names: dict[str, str]) -> dict[str, str]:
    with engine.connect() as connection:
        return {name: str(connection.execute(text(f"SHOW {name}")).scalar_one()) for name in names}


@pytest.mark.parametrize("for_role", [False, True], ids=["database", "role"])
@pytest.mark.parametrize(
    ("make", "limits"),
    [(reader_engine, UNBOUNDED), (writer_engine, BOUNDED), (sink_engine, BOUNDED)],
    ids=["reader", "writer", "sink"],
)
def test_our_connections_set_what_they_depend_on(
    postgres_url: str, make: Callable[[str], Engine], limits: dict[str, str], for_role: bool
) -> None:
    set_for_database(postgres_url, HOSTILE, for_role=for_role)
    engine = make(postgres_url)
    expected = OURS | limits
    assert shown(engine, expected) == expected
    # As the driver sends literals by then: a backslash stays one, also behind an autocommit connection.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert connection.execute(text("SELECT :one || '\\d'"), {"one": "a\\b'c"}).scalar_one() == "a\\b'c\\d"
    # From now on the driver names the isolation in each BEGIN, and resets this one.
    del expected["default_transaction_isolation"]
    assert shown(engine, expected) == expected
    engine.dispose()


def test_what_fences_a_primary_off_and_stricter_commits_are_left_as_they_are(postgres_url: str) -> None:
    kept = {"default_transaction_read_only": "on", "synchronous_commit": "remote_apply"}
    set_for_database(postgres_url, kept)
    engine = writer_engine(postgres_url)
    assert shown(engine, kept) == kept
    engine.dispose()


def test_a_time_limit_and_a_search_path_in_the_url_win(postgres_url: str) -> None:
    set_for_database(postgres_url, {"statement_timeout": "7777", "search_path": "elsewhere"})
    engine = reader_engine(f"{with_schema(postgres_url, 'pg_temp,public')}%20--statement-timeout%3D4444")
    assert shown(engine, {"statement_timeout": "", "search_path": "", "lock_timeout": ""}) == {
        "statement_timeout": "4444ms",
        "search_path": "pg_temp,public",
        "lock_timeout": "0",
    }
    engine.dispose()


def test_options_of_the_environment_are_kept(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_for_database(postgres_url, {"standard_conforming_strings": "off"})
    monkeypatch.setenv("PGOPTIONS", "-c search_path=pg_temp,public")
    engine = reader_engine(postgres_url)
    expected = {"search_path": "pg_temp,public", "standard_conforming_strings": "on"}
    assert shown(engine, expected) == expected
    engine.dispose()


@pytest.mark.parametrize("relay", ["wal", "polling"])
@pytest.mark.parametrize("hostile", [{"bytea_output": "escape"}, HOSTILE], ids=["bytea_output", "all"])
def test_regression_bytes_go_through_whatever_the_role_says_of_their_text(
    settings: Settings, relay: str, hostile: dict[str, str]
) -> None:
    """bytea_output=escape ended the tailer at each row."""
    assert settings.postgres_url is not None
    set_for_database(settings.postgres_url, hostile, for_role=True)
    one = msgspec.structs.replace(settings, relay=relay)
    payloads = [bytes(range(256)), b"\\x00", b"\\", b"", b"'"]
    with with_topics(one) as engine:
        recorder = EventRecorder(engine, partition_rows=3)
        life = Life(one, engine)
        for version, payload in enumerate(payloads, start=1):
            recorder.insert_events(events_of("anna\\'", version, 1, payload))
        life.until_acknowledged(len(payloads))
        life.end()
    shard = shard_of("anna\\'")
    assert published(one) == [(shard, n, payload) for n, payload in enumerate(payloads, start=1)]


def test_serve_works_whatever_the_database_says_of_its_sessions(settings: Settings, tmp_path: Path) -> None:
    assert settings.postgres_url is not None
    set_for_database(settings.postgres_url, HOSTILE)
    node = ServeNode("api,tailer,projections", settings, tmp_path / "node", RIDELOG_TOKENS=TOKENS)
    try:
        eventually(node.is_ready, within_s=90, what="everything is ready")
        now = int(time.time() * 1000)
        pings = [
            {"rider_id": "a\\'ñ", "latitude": 52.5 + n / 9_000, "longitude": 13.4, "event_timestamp_ms": now - n * 1000}
            for n in range(20)
        ]
        assert node.post("/pings", pings).json()["accepted"] == 20
        assert node.post("/pings", pings).json()["duplicates"] == 20

        def served() -> bool:
            found = node.get("/riders/a%5C'ñ/speed")
            return found.status_code == 200 and found.json()["version"] >= 20

        eventually(served, within_s=60, what="the speed of all pings is served")
        rows = eventually(
            lambda: node.get("/analytics/riders/a%5C'ñ").json().get("items"), within_s=60, what="rows are kept"
        )
        assert sum(row["pings"] for row in rows) == 20
        past = node.get(f"/riders/a%5C'ñ/speed?at={now}&axis=event")
        assert past.status_code == 200, past.text
    finally:
        node.stop()
    tailer = (tmp_path / "node" / "logs" / "tailer.log").read_text()
    assert "Traceback" not in tailer
