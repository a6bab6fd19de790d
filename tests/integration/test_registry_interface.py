"""Every endpoint and every code of the registry's interface, over HTTP and through Confluent's own client."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, ServerConfig, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.common.schema_registry_client import ConfigCompatibilityLevel
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext
from litestar import Litestar
from sqlalchemy import Engine

from domain.contracts import Codec, contracts
from infrastructure.event_store.engine import reader_engine
from infrastructure.http.auth import Authorizer
from infrastructure.http.registry_routes import registry_router
from infrastructure.registry.ids import EmbeddedRegistry, RegisteredIds, register_all
from infrastructure.registry.refusals import Refused
from infrastructure.registry.store import RegistryStore
from tests.support.http_server import served
from tests.unit.test_contracts import PING
from tests.unit.test_registry_levels import LONG, ONE, OPTIONAL, REQUIRED

GPS = "com.delivery.events.GpsPing"
MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = reader_engine(postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> RegistryStore:
    return RegistryStore(engine)


@pytest.fixture
def http(store: RegistryStore) -> Iterator[httpx.Client]:
    application = Litestar([registry_router(store)], openapi_config=None, logging_config=None)
    with served(application) as base, httpx.Client(base_url=f"{base}/registry", timeout=30.0) as client:
        yield client


@pytest.fixture
def client(http: httpx.Client) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": str(http.base_url).rstrip("/")})


def avro(schema: str) -> Schema:
    return Schema(schema, "AVRO")


def code(call: Callable[[], Any]) -> int | None:
    """The code with which Confluent's client was refused."""
    with pytest.raises(SchemaRegistryError) as refused:
        call()
    assert refused.value.error_message
    return refused.value.error_code


def read(answer: httpx.Response) -> Any:
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(answer: httpx.Response) -> tuple[int, int]:
    assert answer.headers["content-type"] == MEDIA_TYPE
    body = answer.json()
    assert set(body) == {"error_code", "message"}
    assert body["message"]
    return answer.status_code, body["error_code"]


def test_a_version_goes_in_two_steps(client: SchemaRegistryClient) -> None:
    first = client.register_schema("s", avro(ONE))
    second = client.register_schema("s", avro(OPTIONAL))
    assert code(lambda: client.delete_version("s", 1, permanent=True)) == 40407
    assert client.delete_version("s", 1) == 1
    assert code(lambda: client.delete_version("s", 1)) == 40406
    assert code(lambda: client.delete_version("s", 3)) == 40402
    assert code(lambda: client.get_version("s", 1)) == 40402
    assert client.get_version("s", 1, deleted=True).schema_id == first
    assert client.get_versions("s") == [2]
    assert client.get_versions("s", deleted=True) == [1, 2]
    assert client.get_versions("s", deleted_only=True) == [1]
    # What was written under it is still read.
    assert client.get_schema(first).schema_str == ONE
    assert code(lambda: client.get_schema_versions(first)) == 40403
    assert [v.version for v in client.get_schema_versions(first, deleted=True)] == [1]
    assert client.delete_version("s", 1, permanent=True) == 1
    assert client.get_versions("s", deleted=True) == [2]
    client.clear_caches()  # type: ignore[no-untyped-call]
    assert code(lambda: client.get_schema(first)) == 40403
    assert client.get_latest_version("s").schema_id == second


def test_a_subject_goes_in_two_steps_with_its_settings(client: SchemaRegistryClient) -> None:
    first = client.register_schema("s", avro(ONE))
    client.register_schema("s", avro(OPTIONAL))
    client.set_compatibility("s", "FULL")
    assert code(lambda: client.delete_subject("t")) == 40401
    assert client.delete_subject("s") == [1, 2]
    assert code(lambda: client.delete_subject("s")) == 40404
    assert code(lambda: client.get_compatibility("s")) == 40408
    assert code(lambda: client.get_versions("s")) == 40401
    assert (client.get_subjects(), client.get_subjects(deleted=True)) == ([], ["s"])
    assert code(lambda: client.lookup_schema("s", avro(ONE))) == 40401
    assert client.lookup_schema("s", avro(ONE), deleted=True).version == 1
    # A schema that was deleted comes back under a new number, and with the same id.
    client.clear_caches()  # type: ignore[no-untyped-call]
    assert client.register_schema("s", avro(ONE)) == first
    assert client.get_latest_version("s").version == 3
    assert client.delete_subject("s") == [3]
    assert client.delete_subject("s", permanent=True) == [1, 2, 3]
    assert client.get_subjects(deleted=True) == []
    assert client.register_schema("t", avro(LONG)) == first + 2, "an id names one text for ever"


def test_the_codes_of_permanent_deletion_over_http(http: httpx.Client, store: RegistryStore) -> None:
    store.register("s", ONE)
    assert refusal(http.delete("/subjects/s?permanent=true")) == (404, 40405)
    assert refusal(http.delete("/subjects/s/versions/newest")) == (422, 42202)
    assert read(http.delete("/subjects/s/versions/latest")) == 1
    assert refusal(http.delete("/subjects/s/versions/latest")) == (404, 40402)
    assert read(http.delete("/subjects/s/versions/latest?permanent=true")) == 1
    assert refusal(http.delete("/subjects/s?permanent=true")) == (404, 40401)


def test_invariant_12_a_contract_is_never_deleted_permanently(
    client: SchemaRegistryClient, http: httpx.Client, store: RegistryStore
) -> None:
    codec = Codec(RegisteredIds(EmbeddedRegistry(store)))
    payload = codec.encode("GpsPing", PING)
    before = {c.subject: store.versions(c.subject) for c in contracts()}
    for contract in contracts():
        assert refusal(http.delete(f"/subjects/{contract.subject}?permanent=true")) == (422, 42205)
    answer = http.delete(f"/subjects/{GPS}/versions/1?permanent=true")
    assert refusal(answer) == (422, 42205)
    assert "readable for ever" in answer.json()["message"]
    # Hidden, and still read; a node that starts shows it again under the number of its release.
    assert read(http.delete(f"/subjects/{GPS}")) == [1, 2]
    assert refusal(http.delete(f"/subjects/{GPS}?permanent=true")) == (422, 42205)
    assert refusal(http.post(f"/subjects/{GPS}/versions", json={"schema": ONE})) == (409, 409)
    read(http.put("/mode", json={"mode": "READONLY"}))
    assert AvroDeserializer(client)(payload, SerializationContext("gps-pings", MessageField.VALUE)) == PING
    assert Codec(RegisteredIds(EmbeddedRegistry(store))).decode(payload) == PING
    assert {c.subject: store.versions(c.subject) for c in contracts()} == before


def test_a_schema_that_events_carry_outlives_the_subjects_of_clients(store: RegistryStore, http: httpx.Client) -> None:
    codec = Codec(RegisteredIds(EmbeddedRegistry(store)))
    text = store.versions(GPS)[-1].schema
    assert store.register("gps-pings-value", text).schema_id == store.versions(GPS)[-1].schema_id
    read(http.delete("/subjects/gps-pings-value"))
    read(http.delete("/subjects/gps-pings-value?permanent=true"))
    assert codec.decode(codec.encode("GpsPing", PING)) == PING
    assert read(http.get(f"/schemas/ids/{store.versions(GPS)[-1].schema_id}"))["schema"] == text


LEVELS = ("NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE")
REQUIRED_FITS = {"NONE", "FORWARD", "FORWARD_TRANSITIVE"}


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_decides_what_may_be_registered(client: SchemaRegistryClient, level: str) -> None:
    client.register_schema("s", avro(ONE))
    client.set_compatibility("s", level)
    assert client.get_compatibility("s") == level
    assert client.get_config("s").compatibility_level == ConfigCompatibilityLevel(level)
    fits = level in REQUIRED_FITS
    assert client.test_compatibility("s", avro(REQUIRED)) is fits
    assert client.test_compatibility_all_versions("s", avro(REQUIRED)) is fits
    if fits:
        assert client.register_schema("s", avro(REQUIRED)) == 2
    else:
        assert code(lambda: client.register_schema("s", avro(REQUIRED))) == 409
        assert client.get_versions("s") == [1]


def test_a_transitive_check_asks_all_versions_and_one_version_is_one(client: SchemaRegistryClient) -> None:
    client.register_schema("s", avro(OPTIONAL))
    client.register_schema("s", avro(ONE))
    other = avro(OPTIONAL.replace('"name": "b", "type": "int", "default": 0', '"name": "b", "type": "null"'))
    other = avro(str(other.schema_str).replace('"null"', '"string", "default": ""'))
    assert client.test_compatibility_all_versions("s", other)
    assert not client.test_compatibility("s", other, version=1)
    client.set_compatibility(level="BACKWARD_TRANSITIVE")
    assert client.test_compatibility("s", other)
    assert not client.test_compatibility_all_versions("s", other)
    assert code(lambda: client.register_schema("s", other)) == 409
    client.delete_version("s", 1)
    assert client.test_compatibility_all_versions("s", other), "what was deleted is not asked"


def test_settings_of_a_subject_and_of_all(client: SchemaRegistryClient, http: httpx.Client) -> None:
    assert read(http.get("/config")) == {"compatibilityLevel": "BACKWARD"}
    assert code(lambda: client.get_compatibility("s")) == 40408
    assert read(http.get("/config/s?defaultToGlobal=true")) == {"compatibilityLevel": "BACKWARD"}
    assert read(http.put("/config", json={"compatibility": "full"})) == {"compatibility": "FULL"}
    assert read(http.get("/config/s?defaultToGlobal=true")) == {"compatibilityLevel": "FULL"}
    client.set_config("s", ServerConfig(compatibility=ConfigCompatibilityLevel.NONE))
    assert client.get_compatibility("s") == "NONE"
    assert client.delete_config("s").compatibility_level == ConfigCompatibilityLevel.NONE
    assert code(lambda: client.delete_config("s")) == 40401
    assert read(http.delete("/config")) == {"compatibilityLevel": "FULL"}
    assert client.get_compatibility() == "BACKWARD"


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/config", {"compatibility": "SIDEWAYS"}, (422, 42203)),
        ("/config/s", {"compatibility": None}, (422, 42203)),
        ("/config", {"compatibility": ["FULL"]}, (422, 42203)),
        ("/config", [], (422, 42203)),
        ("/config", {"compatibility": "FULL", "compatibilityGroup": "g"}, (422, 42205)),
        ("/mode", {"mode": "WRITEONLY"}, (422, 42204)),
        ("/mode/s", {}, (422, 42204)),
        ("/mode/s", {"mode": {}}, (422, 42204)),
        ("/mode", {"mode": [1]}, (422, 42204)),
        ("/mode", {"mode": "IMPORT"}, (422, 42205)),
        ("/mode/s", {"mode": "READONLY_OVERRIDE"}, (422, 42205)),
        ("/mode/s%00", {"mode": "READONLY"}, (422, 42208)),
    ],
)
def test_a_setting_that_is_none_is_refused(http: httpx.Client, path: str, body: Any, expected: tuple[int, int]) -> None:
    assert refusal(http.put(path, json=body)) == expected


def test_read_only_refuses_whatever_would_change_versions(client: SchemaRegistryClient, store: RegistryStore) -> None:
    first = client.register_schema("s", avro(ONE))
    assert code(lambda: client.get_mode("s")) == 40409
    assert client.update_mode("s", "READONLY") == "READONLY"
    assert client.get_mode("s") == "READONLY"
    assert store.register("s", ONE).schema_id == first, "what is there is found"
    refused: list[Callable[[], Any]] = [
        lambda: client.register_schema("s", avro(OPTIONAL)),
        lambda: client.delete_version("s", 1),
        lambda: client.delete_subject("s"),
        lambda: client.set_compatibility("s", "NONE"),
    ]
    assert [code(call) for call in refused] == [42205] * 4
    assert client.register_schema("t", avro(OPTIONAL)) == 2
    # For all, but not for a subject that has a mode of its own.
    client.update_global_mode("READONLY")
    client.update_mode("s", "READWRITE")
    assert client.register_schema("s", avro(OPTIONAL)) == 2
    assert code(lambda: client.register_schema("t", avro(REQUIRED))) == 42205
    assert client.delete_mode("s") == "READWRITE"
    assert code(lambda: client.delete_mode("s")) == 40401
    with pytest.raises(Refused):
        store.register("u", ONE)
    assert register_all(EmbeddedRegistry(store)), "no mode keeps a node from starting"


def test_lists_texts_and_what_clients_ask_beside(http: httpx.Client, store: RegistryStore) -> None:
    first = store.register("a-value", ONE).schema_id
    for subject, schema in (("a-value", OPTIONAL), ("b-value", ONE), ("b-key", ONE)):
        store.register(subject, schema)
    assert read(http.get("/")) == {}
    assert read(http.get("/subjects?subjectPrefix=b")) == ["b-key", "b-value"]
    assert read(http.get("/subjects?subjectPrefix=:*:a&deleted=true")) == ["a-value"]
    assert read(http.get("/subjects?offset=1&limit=1")) == ["b-key"]
    assert read(http.get("/subjects?subjectPrefix=%00")) == []
    assert refusal(http.get("/subjects?limit=ten")) == (400, 400)
    assert [one["version"] for one in read(http.get("/schemas?subjectPrefix=a"))] == [1, 2]
    assert [one["version"] for one in read(http.get("/schemas?subjectPrefix=a&latestOnly=true"))] == [2]
    assert read(http.get("/schemas/types")) == ["AVRO"]
    assert read(http.get(f"/schemas/ids/{first}/schema")) == json.loads(ONE)
    assert read(http.get(f"/schemas/ids/{first}/subjects")) == ["a-value", "b-key", "b-value"]
    assert read(http.get("/subjects/a-value/versions/latest/schema")) == json.loads(OPTIONAL)
    assert read(http.get("/subjects/a-value/versions/-1"))["version"] == 2
    assert read(http.get("/subjects/a-value/versions/1/referencedby")) == []
    assert read(http.post("/subjects/a-value?normalize=true", json={"schema": ONE}))["version"] == 1
    for path in ("/schemas/ids/999/schema", "/schemas/ids/999/versions", f"/schemas/ids/{2**40}"):
        assert refusal(http.get(path)) == (404, 40403)
    assert refusal(http.get("/subjects/a-value/metadata")) == (404, 404)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"schema": ONE, "schemaType": "PROTOBUF"}, (422, 42201)),
        ({"schema": ONE, "references": [{"name": "R", "subject": "r", "version": 1}]}, (422, 42201)),
        ({"schema": ONE, "metadata": {"properties": {"owner": "me"}}}, (422, 42201)),
        ({"schema": ONE, "ruleSet": {"domainRules": [{}]}}, (422, 42210)),
        ({"schema": ONE, "id": 7, "version": 1}, (422, 42205)),
        ({"schema": '"int' + chr(0) + '"'}, (422, 42201)),
        ({"schema": {"type": "int"}}, (422, 42201)),
        ({}, (422, 42201)),
    ],
)
def test_what_is_not_supported_is_refused_and_not_ignored(
    http: httpx.Client, store: RegistryStore, body: Any, expected: tuple[int, int]
) -> None:
    assert refusal(http.post("/subjects/s/versions", json=body)) == expected
    assert store.subjects("all") == []


def test_half_a_surrogate_pair_is_no_schema(http: httpx.Client) -> None:
    text = ONE.replace('"R"', r'"R\", \"doc\": \"\ud800"').replace('"', r"\"").replace(r"\\", "\\")
    assert refusal(http.post("/subjects/s/versions", content=f'{{"schema": "{text}"}}')) == (422, 42201)


def test_a_serializer_registers_evolves_and_is_read(client: SchemaRegistryClient, store: RegistryStore) -> None:
    context = SerializationContext("orders", MessageField.VALUE)
    conf = {"subject.name.strategy": topic_subject_name_strategy, "normalize.schemas": True}
    old = AvroSerializer(client, ONE, conf=conf)({"a": 1}, context)
    client.set_compatibility("orders-value", "FULL_TRANSITIVE")
    new = AvroSerializer(client, OPTIONAL, conf=conf)({"a": 2, "b": 3}, context)
    assert AvroDeserializer(client, OPTIONAL)(old, context) == {"a": 1, "b": 0}
    assert AvroDeserializer(client, ONE)(new, context) == {"a": 2}
    with pytest.raises(SchemaRegistryError) as refused:
        AvroSerializer(client, REQUIRED, conf=conf)({"a": 2, "b": 3}, context)
    assert refused.value.error_code == 409
    assert [one.version for one in store.versions("orders-value")] == [1, 2]


def test_a_client_that_knows_only_user_and_password_sends_the_token_so(store: RegistryStore) -> None:
    guard = Authorizer({"r": "read", "a": "admin"})
    application = Litestar([registry_router(store)], guards=[guard], openapi_config=None, logging_config=None)
    with served(application) as base:

        def using(token: str) -> SchemaRegistryClient:
            return SchemaRegistryClient({"url": f"{base}/registry", "basic.auth.user.info": f"anybody:{token}"})

        assert using("a").register_schema("s", avro(ONE)) == 1
        assert using("r").get_versions("s") == [1]
        refused: list[Callable[[], Any]] = [
            lambda: using("r").set_compatibility("s", "NONE"),
            lambda: using("r").update_global_mode("READONLY"),
            lambda: using("r").delete_subject("s"),
        ]
        assert [code(call) for call in refused] == [40301] * 3
        assert code(lambda: using("x").get_subjects()) == 40101
        for junk in ("Basic !", "Basic", f"Basic {base64.b64encode(b'no colon').decode()}", "Digest a"):
            answer = httpx.get(f"{base}/registry/subjects", headers={"Authorization": junk})
            assert refusal(answer) == (401, 40101)


def test_a_database_that_is_away_is_50001() -> None:
    engine = reader_engine("postgresql://nobody@127.0.0.1:1/nothing")
    application = Litestar([registry_router(RegistryStore(engine))], openapi_config=None, logging_config=None)
    try:
        with served(application) as base:
            for method, path in (("GET", "subjects"), ("GET", "config"), ("DELETE", "subjects/s")):
                assert refusal(httpx.request(method, f"{base}/registry/{path}")) == (500, 50001)
    finally:
        engine.dispose()
