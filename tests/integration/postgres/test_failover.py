"""A server that took no writes for a while: everything goes on by itself once it does, without a restart of ours."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from infrastructure.embedded.pid_file import RecordedProcess
from infrastructure.postgres import migrations
from tests.support.servers.tcp_postgres import DATABASE, PASSWORD, ROLE, TcpPostgres
from tests.support.waiting import eventually
from tests.support.worlds.command_line import EXTERNAL_SERVER, run_here
from tests.support.worlds.ridelog import Ridelog, ridelog

STAGES = ("tailer", "speed", "analytics", "locations")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TcpPostgres]:
    one = TcpPostgres(tmp_path_factory.mktemp("external"))
    try:
        one.start()
        one.create_owner()
        done = run_here(("migrate",), {"RIDELOG_POSTGRES_URL": one.owner_url}, one.data_dir)
        assert done.returncode == 0, done.stderr
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="module", params=["wal", "polling"])
def serve(
    server: TcpPostgres, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ridelog]:
    relay = str(request.param)
    folder = tmp_path_factory.mktemp(relay) / "data"
    with ridelog(folder, postgres_url=server.owner_url, relay=relay, slot_name=relay) as one:
        yield one
    server.sql(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active", database=DATABASE
    )


def post(serve: Ridelog) -> httpx.Response:
    ping = {"rider_id": "anna", "latitude": 52.5, "longitude": 13.4, "event_timestamp_ms": time.time_ns() // 1_000_000}
    return serve.http.post("/pings", json=ping)


def postgres_is(serve: Ridelog) -> str:
    return str(serve.http.get("/health/ready").json()["stages"]["postgres"])


def assert_everything_goes_on(serve: Ridelog, server: TcpPostgres, before: Mapping[str, RecordedProcess]) -> None:
    """Ingest records, the tailer publishes and every projection folds it, in the processes that ran before."""
    answer = eventually(
        lambda: found if (found := post(serve)).status_code == 200 else None, within_s=60, what="ingest"
    )
    assert answer is not None
    position = answer.json()["position"]
    serve.speed_at("anna", position)

    since = server.sql("SELECT clock_timestamp()")[0][0].isoformat()

    def reached() -> bool:
        # The lag against the log's head: the position of a stage counts only what its present life has applied.
        rows = server.sql(
            f"SELECT stage FROM stage_reports WHERE reported_at > '{since}' AND progress ->> 'state' = 'running'"
            " AND (progress ->> 'lag_events')::bigint = 0",
            DATABASE,
        )
        return {name for (name,) in rows} >= set(STAGES)

    eventually(reached, within_s=60, what="tailer and projections have passed what was posted")
    eventually(lambda: serve.http.get("/health/ready").status_code == 200, within_s=60, what="it is ready again")
    assert serve.processes() == before, "something had to be restarted"


def test_ingest_tailer_and_projections_go_on_after_the_server_was_read_only(
    serve: Ridelog, server: TcpPostgres
) -> None:
    """Every connection opened meanwhile stayed read-only for as long as its pool kept it."""
    before = dict(serve.processes())
    assert post(serve).status_code == 200
    server.sql(f"ALTER ROLE {ROLE} SET default_transaction_read_only = on")
    server.end_sessions()
    try:
        eventually(lambda: "read-only" in postgres_is(serve), what="readiness says so before any append")
        assert post(serve).status_code == 503
        assert serve.http.get("/health/ready").status_code == 503
    finally:
        server.sql(f"ALTER ROLE {ROLE} RESET default_transaction_read_only")
    assert_everything_goes_on(serve, server, before)


def test_everything_goes_on_after_the_role_had_no_connection_left(serve: Ridelog, server: TcpPostgres) -> None:
    before = dict(serve.processes())
    server.sql(f"ALTER ROLE {ROLE} CONNECTION LIMIT 0")
    server.end_sessions()
    try:
        eventually(
            lambda: post(serve).status_code == 503 and "too many connections" in postgres_is(serve), what="it says so"
        )
    finally:
        server.sql(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")
    assert_everything_goes_on(serve, server, before)


def test_everything_goes_on_after_a_standby_was_promoted(serve: Ridelog, server: TcpPostgres) -> None:
    """Sessions of a hot standby are read-only, and outlive the failover where the address moves to another server."""
    before = dict(serve.processes())
    assert post(serve).status_code == 200
    server.become_standby()
    eventually(lambda: "standby" in postgres_is(serve), within_s=60, what="readiness says so before any append")
    assert post(serve).status_code == 503
    server.promote()
    assert_everything_goes_on(serve, server, before)


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_database_that_is_read_only_at_the_start_is_told_in_one_line(
    server: TcpPostgres, tmp_path: Path, command: str
) -> None:
    # What is up to date needs no writing, so `migrate` is given an empty one.
    database = f"readonly_{command}"
    server.sql(f"CREATE DATABASE {database} OWNER {ROLE}")
    url = server.owner_url.replace(f"/{DATABASE}", f"/{database}")
    if command == "serve":
        migrations.upgrade(url)
    server.sql(f"ALTER ROLE {ROLE} SET default_transaction_read_only = on")
    try:
        env = {"RIDELOG_POSTGRES_URL": url, "RIDELOG_DATA_DIR": str(tmp_path), "RIDELOG_PORT": "0"}
        done = run_here((command,), {**env, "PATH": os.environ["PATH"]}, tmp_path)
    finally:
        server.sql(f"ALTER ROLE {ROLE} RESET default_transaction_read_only")
    assert done.returncode == 1
    assert "read-only" in done.stderr
    assert PASSWORD not in done.stderr
    shown = [line for line in done.stderr.splitlines() if EXTERNAL_SERVER not in line]
    assert len(shown) == 1, done.stderr
