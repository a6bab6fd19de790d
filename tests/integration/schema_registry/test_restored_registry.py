"""The log is restored under running writers, to a time when its registry lacked the contracts that they write with."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, text

from domain.events.contracts import NAMESPACE, current, split_frame
from infrastructure.kafka.topics import published_topic
from infrastructure.postgres.engine import reader_engine
from infrastructure.schema_registry.store import RegistryStore
from infrastructure.settings.settings import Settings
from tests.support.servers.nodes import TOKENS, ServeNode
from tests.support.waiting import eventually
from tests.support.worlds.locations import read_records


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    assert settings.postgres_url is not None
    engine = reader_engine(settings.postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def node(settings: Settings, engine: Engine, tmp_path: Path) -> Iterator[ServeNode]:
    # Without a tailer: what Kafka does not bring, projections take from the event store.
    external = msgspec.structs.replace(settings, relay="external")
    node = ServeNode("api,projections", external, tmp_path / "node", RIDELOG_TOKENS=TOKENS)
    eventually(node.is_ready, within_s=60, what="the node is ready")
    yield node
    node.stop()


def record(node: ServeNode, count: int) -> None:
    now_ms = int(time.time() * 1000)
    place = {"rider_id": "anna", "latitude": 52.52, "longitude": 13.405}
    pings = [{**place, "event_timestamp_ms": now_ms - number * 1000} for number in range(count)]
    assert node.post("/pings", pings).json()["accepted"] == count


def restore_to_the_beginning(engine: Engine) -> None:
    """Before any event and any contract; and then a client of the registry comes first."""
    with engine.begin() as connection:
        connection.execute(text("SELECT FROM log_head FOR UPDATE"))
        for table in ("events", "snapshots", "schema_versions", "schemas"):
            connection.execute(text(f"DELETE FROM {table}"))
        connection.execute(text("UPDATE log_numbers SET position = 0, seqs = '{}', recorded_at = 'epoch'"))
    assert RegistryStore(engine).register("somebody-elses", '"string"').schema_id == 1


def written_under(engine: Engine, payload: bytes) -> object:
    """The schema that the registry, as it is now, has under the id of a frame."""
    schema = RegistryStore(engine).schema(split_frame(payload)[0])
    return None if schema is None else json.loads(schema)


def location_frames(settings: Settings) -> list[bytes]:
    assert settings.kafka_bootstrap is not None
    topic = published_topic(settings, "rider-locations")
    return [value for _, value in read_records(settings.kafka_bootstrap, topic) if value]


def test_regression_whoever_writes_after_a_restore_names_schemas_that_the_restored_registry_has(
    node: ServeNode, engine: Engine, settings: Settings
) -> None:
    record(node, 3)
    eventually(lambda: location_frames(settings), within_s=60, what="the place is published")
    assert written_under(engine, location_frames(settings)[-1]) == current("RiderLocation").schema
    before = len(location_frames(settings))

    restore_to_the_beginning(engine)
    record(node, 1)

    with engine.connect() as connection:
        rows = connection.execute(text("SELECT event_type, payload FROM events ORDER BY position")).all()
    assert [row.event_type for row in rows] == ["RiderRegistered", "GpsPing"]
    for row in rows:
        assert written_under(engine, bytes(row.payload)) == current(row.event_type).schema, row.event_type
    assert [one.version for one in RegistryStore(engine).versions(f"{NAMESPACE}.GpsPing")] == [1, 2, 3]

    eventually(lambda: len(location_frames(settings)) > before, within_s=60, what="the location is published again")
    assert written_under(engine, location_frames(settings)[-1]) == current("RiderLocation").schema
