"""The registry in a real Postgres behind a real HTTP server, used by Confluent's own client."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext
from litestar import Litestar
from sqlalchemy import Engine

from domain.events.contracts import Codec, contracts, current, split_frame, versions
from domain.identifiers import derive_event_id
from infrastructure.http.auth import Authorizer
from infrastructure.http.schema_registry.router import registry_router
from infrastructure.postgres.engine import reader_engine
from infrastructure.schema_registry.check_process import CheckProcess
from infrastructure.schema_registry.client import EmbeddedRegistry, RegisteredIds, RegistryUnavailable, register_all
from infrastructure.schema_registry.errors import Incompatible
from infrastructure.schema_registry.external import ExternalRegistry
from infrastructure.schema_registry.store import RegistryStore
from infrastructure.settings.tokens import parse_tokens
from tests.support.servers.http_server import served
from tests.support.time_limits import scaled_s
from tests.unit.domain.test_contracts import PING

SUBJECT = "com.delivery.events.GpsPing"
CONTEXT = SerializationContext("gps-pings", MessageField.VALUE)


def record(*fields: dict[str, Any]) -> str:
    return json.dumps({"type": "record", "name": "R", "namespace": "org.example", "fields": list(fields)})


ONE = record({"name": "a", "type": "int"})
TWO = record({"name": "a", "type": "int"}, {"name": "b", "type": "int", "default": 0})
BROKEN = record({"name": "a", "type": "string"})


def parsed(schema: str | None) -> Any:
    return json.loads(schema or "")


@pytest.fixture
def url(store: RegistryStore) -> Iterator[str]:
    with served(Litestar([registry_router(store)], openapi_config=None, logging_config=None)) as base:
        yield f"{base}/registry"


@pytest.fixture
def client(url: str) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": url})


def test_confluents_deserializer_reads_what_we_write(store: RegistryStore, client: SchemaRegistryClient) -> None:
    payload = Codec(RegisteredIds(EmbeddedRegistry(store))).encode("GpsPing", PING)
    assert AvroDeserializer(client)(payload, CONTEXT) == PING


def test_we_read_what_confluents_serializer_writes(store: RegistryStore, client: SchemaRegistryClient) -> None:
    codec = Codec(RegisteredIds(EmbeddedRegistry(store)))
    conf = {"auto.register.schemas": False, "subject.name.strategy": record_subject_name_strategy}
    serialize = AvroSerializer(client, json.dumps(current("GpsPing").schema), conf=conf)
    payload = serialize(PING, CONTEXT)
    assert payload == codec.encode("GpsPing", PING)
    assert codec.decode(payload) == PING


def test_a_writer_that_registers_version_1_under_its_own_subject_is_read(
    store: RegistryStore, client: SchemaRegistryClient
) -> None:
    codec = Codec(RegisteredIds(EmbeddedRegistry(store)))
    payload = AvroSerializer(client, json.dumps(versions("GpsPing")[0].schema))(PING, CONTEXT)
    assert payload is not None
    assert store.subjects()[-1] == "gps-pings-value"
    # One schema has one id, whatever the subjects that it is registered under.
    assert split_frame(payload)[0] == store.versions(SUBJECT)[0].schema_id
    assert codec.decode(payload)["event_id"] == derive_event_id(
        "anna", PING["event_timestamp_ms"], PING["latitude"], PING["longitude"]
    )


def test_the_client_finds_every_contract(store: RegistryStore, client: SchemaRegistryClient) -> None:
    ids = register_all(EmbeddedRegistry(store))
    assert client.get_subjects() == sorted({contract.subject for contract in contracts()})
    assert client.get_versions(SUBJECT) == [1, 2, 3]
    latest = client.get_latest_version(SUBJECT)
    assert (latest.version, latest.schema_id) == (3, ids["GpsPing"])
    assert parsed(latest.schema.schema_str) == current("GpsPing").schema
    assert parsed(client.get_version(SUBJECT, 1).schema.schema_str) == versions("GpsPing")[0].schema
    assert client.lookup_schema(SUBJECT, latest.schema).version == 3
    assert parsed(client.get_schema(ids["GpsPing"]).schema_str) == current("GpsPing").schema
    assert [(v.subject, v.version) for v in client.get_schema_versions(ids["GpsPing"])] == [(SUBJECT, 3)]
    assert client.get_subjects_by_schema_id(ids["GpsPing"]) == [SUBJECT]
    assert client.get_schema_types() == ["AVRO"]


def test_the_client_registers_and_evolves(client: SchemaRegistryClient) -> None:
    assert client.get_compatibility() == "BACKWARD"
    assert client.get_global_mode() == "READWRITE"
    first = client.register_schema("s", Schema(ONE, "AVRO"))
    assert client.register_schema("s", Schema(ONE.replace('"int"', '{"type": "int"}'), "AVRO")) == first
    assert client.register_schema("t", Schema(ONE, "AVRO")) == first
    assert client.test_compatibility("s", Schema(TWO, "AVRO"))
    assert client.test_compatibility_all_versions("s", Schema(TWO, "AVRO"))
    assert not client.test_compatibility("s", Schema(BROKEN, "AVRO"), version=1)
    assert client.test_compatibility("unheard", Schema(ONE, "AVRO"))
    assert client.register_schema("s", Schema(TWO, "AVRO")) == first + 1
    assert client.get_versions("s") == [1, 2]


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        (lambda c: c.get_latest_version("unheard"), 404, 40401),
        (lambda c: c.get_versions("unheard"), 404, 40401),
        (lambda c: c.lookup_schema("unheard", Schema(ONE, "AVRO")), 404, 40401),
        (lambda c: c.get_version("s", 9), 404, 40402),
        (lambda c: c.test_compatibility("s", Schema(ONE, "AVRO"), version=9), 404, 40402),
        (lambda c: c.get_schema(4_294_967_295), 404, 40403),
        (lambda c: c.get_schema_versions(999), 404, 40403),
        (lambda c: c.lookup_schema("s", Schema(TWO, "AVRO")), 404, 40403),
        (lambda c: c.register_schema("s", Schema(BROKEN, "AVRO")), 409, 409),
        (lambda c: c.register_schema("s", Schema("{", "AVRO")), 422, 42201),
        (lambda c: c.register_schema("s", Schema('{"type": "object"}', "JSON")), 422, 42201),
        (lambda c: c.test_compatibility("s", Schema("{", "AVRO")), 422, 42201),
        (lambda c: c.get_version("s", "newest"), 422, 42202),
        (lambda c: c.get_version("s", 0), 422, 42202),
        (lambda c: c.get_versions("s\0"), 422, 42208),
        (lambda c: c.get_contexts(), 404, 404),
    ],
)
def test_a_refusal_has_confluents_code(
    store: RegistryStore, client: SchemaRegistryClient, call: Any, status: int, code: int
) -> None:
    store.register("s", ONE)
    with pytest.raises(SchemaRegistryError) as refused:
        call(client)
    assert (refused.value.http_status_code, refused.value.error_code) == (status, code)
    assert refused.value.error_message


def test_answers_have_confluents_content_type_and_say_why(store: RegistryStore, url: str) -> None:
    store.register("s", ONE)
    body = {"schema": BROKEN}
    answer = httpx.post(f"{url}/compatibility/subjects/s/versions/latest?verbose=true", json=body)
    assert answer.headers["content-type"] == "application/vnd.schemaregistry.v1+json"
    assert not answer.json()["is_compatible"]
    assert "string" in answer.json()["messages"][0]
    assert httpx.post(f"{url}/subjects/s/versions", content="{").status_code == 400
    assert httpx.post(f"{url}/subjects/s/versions", content=b" " * 2_000_000).json()["error_code"] == 413
    assert httpx.post(f"{url}/subjects/s/versions", json={"schema": ONE, "ruleSet": {"domainRules": [{}]}}).is_error


def test_reading_needs_the_role_read_and_registering_admin(store: RegistryStore) -> None:
    store.register("s", ONE)
    guard = Authorizer(parse_tokens("read=r,admin=a,ingest=i"))
    application = Litestar([registry_router(store)], guards=[guard], openapi_config=None, logging_config=None)
    with served(application) as base:
        versions_of_s = f"{base}/registry/subjects/s/versions"

        def call(method: str, token: str | None) -> tuple[int, int | None]:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            answer = httpx.request(method, versions_of_s, headers=headers, json={"schema": TWO})
            return answer.status_code, answer.json()["error_code"] if answer.is_error else None

        assert call("GET", None) == (401, 40101)
        assert call("GET", "i") == (403, 40301)
        assert call("GET", "r") == (200, None)
        assert call("POST", "r") == (403, 40301)
        assert call("POST", "a") == (200, None)


def test_processes_that_start_at_once_get_the_same_ids(postgres_url: str) -> None:
    engines = [reader_engine(postgres_url) for _ in range(8)]
    together = threading.Barrier(len(engines))

    def start(engine: Engine) -> dict[str, int]:
        together.wait(timeout=scaled_s(10))
        return register_all(EmbeddedRegistry(RegistryStore(engine)))

    try:
        with ThreadPoolExecutor(len(engines)) as pool:
            found = list(pool.map(start, engines))
        assert all(ids == found[0] for ids in found)
        registered = [RegistryStore(engines[0]).schema(number) for number in range(1, len(contracts()) + 1)]
        assert [parsed(schema) for schema in registered] == [contract.schema for contract in contracts()]
    finally:
        for engine in engines:
            engine.dispose()


def test_only_what_others_registered_is_compared_in_a_separate_process(engine: Engine) -> None:
    """The first start of each program registers all contracts: a process for them would cost more than the rest."""
    checks = CheckProcess()
    store = RegistryStore(engine, checks)
    records = {contract.record for contract in contracts()}
    assert len(contracts()) > len(records), "no contract has a second version"
    register_all(EmbeddedRegistry(store))
    assert checks.pid is None
    try:
        store.register("org.example.R", ONE)
        store.register("org.example.R", TWO)
        assert checks.pid is not None
    finally:
        checks.close()


def test_a_contract_after_a_version_of_others_is_compared_in_a_separate_process(engine: Engine) -> None:
    checks = CheckProcess()
    store = RegistryStore(engine, checks)
    theirs = dict(versions("GpsPing")[0].schema) | {"doc": "of another client"}
    store.register(SUBJECT, json.dumps(theirs))
    checks.close()
    try:
        store.release(SUBJECT, json.dumps(current("GpsPing").schema))
        assert checks.pid is not None
    finally:
        checks.close()


def test_a_refused_version_leaves_no_trace(store: RegistryStore) -> None:
    first = store.register("s", ONE)
    with pytest.raises(Incompatible, match="s version 1"):
        store.register("s", BROKEN)
    assert store.versions("s") == [first]
    assert store.register("s", TWO).schema_id == first.schema_id + 1


def test_an_external_registry_gives_the_ids_and_the_schemas(url: str, store: RegistryStore) -> None:
    external = ExternalRegistry(url)
    ids = RegisteredIds(external)
    assert ids.id_of("GpsPing") == store.versions(SUBJECT)[-1].schema_id
    assert Codec(ids).decode(Codec(RegisteredIds(EmbeddedRegistry(store))).encode("GpsPing", PING)) == PING
    with pytest.raises(LookupError):
        ids.schema_of(999)
    with pytest.raises(Incompatible):
        external.register(SUBJECT, ONE)
    external.close()


def test_an_external_registry_that_is_away_or_is_none_says_so_without_its_password(url: str) -> None:
    nowhere = url.replace("/registry", "/nowhere").replace("http://", "http://user:secret@")
    for wrong in (nowhere, "http://user:secret@127.0.0.1:1"):
        with pytest.raises(RegistryUnavailable, match="POST /") as refused:
            register_all(ExternalRegistry(wrong))
        assert "secret" not in str(refused.value)
