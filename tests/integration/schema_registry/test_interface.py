"""Every endpoint and every code of the registry's interface, over HTTP and through Confluent's own client."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext
from litestar import Litestar

from infrastructure.http.auth import Authorizer
from infrastructure.http.schema_registry.router import registry_router
from infrastructure.postgres.engine import reader_engine
from infrastructure.schema_registry.store import RegistryStore
from infrastructure.settings.tokens import parse_tokens
from tests.integration.schema_registry.asked import avro, code, read, refusal
from tests.support.servers.http_server import served
from tests.unit.schema_registry.test_compatibility import ONE, OPTIONAL, REQUIRED


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
    guard = Authorizer(parse_tokens("read=r,admin=a"))
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
