"""``RIDELOG_RELAY=external``: another program replaces the tailer, and no missing tailer is reported."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, text

from infrastructure.postgres.engine import reader_engine
from infrastructure.settings.settings import Settings
from projections.catalogue import PROJECTIONS
from tests.support.reports.reported_stages import insert_report
from tests.support.servers.dropped_slots import drop_slot
from tests.support.servers.nodes import TOKENS, ServeNode, metric_of
from tests.support.waiting import eventually
from tests.support.worlds.command_line import run_here


@pytest.fixture
def external(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, relay="external")


@pytest.fixture
def engine(external: Settings) -> Iterator[Engine]:
    """With the slot that the other program reads, and the last report of the tailer that it replaces."""
    assert external.postgres_url is not None
    engine = reader_engine(external.postgres_url)
    last_words = {"state": "stuck: events wait", "position": 1, "lag_events": 7, "detail": {"placed": True}}
    with engine.begin() as connection:
        connection.execute(
            text("SELECT pg_create_logical_replication_slot(:slot, 'pgoutput')"), {"slot": external.slot_name}
        )
        insert_report(connection, "tailer", "gone:1:2:3", 3600, json.dumps(last_words))
    yield engine
    drop_slot(engine, external.slot_name)
    engine.dispose()


@pytest.fixture
def node(external: Settings, engine: Engine, tmp_path: Path) -> Iterator[ServeNode]:
    node = ServeNode("api,tailer,projections,city", external, tmp_path / "node", RIDELOG_TOKENS=TOKENS)
    yield node
    node.stop()


def test_everything_is_ready_and_good_without_our_tailer(node: ServeNode, external: Settings, tmp_path: Path) -> None:
    eventually(node.is_ready, within_s=60, what="everything but the relay is ready")
    stages = node.get("/health/ready").json()["stages"]
    assert set(stages) == {"postgres", "redis", *PROJECTIONS}
    assert not (tmp_path / "node" / "logs" / "tailer.log").exists()

    ping = {"rider_id": "anna", "latitude": 52.52, "longitude": 13.405, "event_timestamp_ms": int(time.time() * 1000)}
    assert node.post("/pings", [ping]).json()["accepted"] == 1
    # The other program does nothing here: projections read from the event store what Kafka does not deliver.
    eventually(lambda: node.get("/riders/anna/speed").status_code == 200, within_s=60, what="the speed is served")

    found = run_here(["status", "--json"], external.environment(), tmp_path)
    lines = {line["stage"]: line for line in json.loads(found.stdout)["stages"]}
    assert lines["tailer"]["state"].startswith("external")
    assert (lines["tailer"]["position"], lines["tailer"]["lag_events"], lines["tailer"]["advice"]) == (None, None, "")
    assert lines["device"]["state"] == "pings come"
    assert "WAL kept" in lines["slot"]["state"]
    assert found.returncode == 0, lines

    tailer_samples = [sample for sample in node.samples() if 'stage="tailer"' in sample]
    # A process that might run a tailer counts its failures from 0; no gauge reports a stage that is not ours.
    assert {metric_of(sample) for sample in tailer_samples} <= {"ridelog_stage_failures_total"}
    assert node.samples()['ridelog_slot_status{status="reserved"}'] == 1


def test_a_node_for_a_tailer_alone_is_rejected(external: Settings, tmp_path: Path) -> None:
    refused = run_here(["serve", "--only", "tailer"], external.environment(), tmp_path)
    assert refused.returncode == 2
    assert "RIDELOG_RELAY=external" in refused.stderr
