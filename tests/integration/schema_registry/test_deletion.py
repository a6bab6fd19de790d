"""Versions and subjects go in two steps; what events carry never goes."""

from __future__ import annotations

import httpx
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from domain.events.contracts import Codec, contracts
from infrastructure.schema_registry.client import EmbeddedRegistry, RegisteredIds
from infrastructure.schema_registry.store import RegistryStore
from tests.integration.schema_registry.asked import GPS, avro, code, read, refusal
from tests.unit.domain.test_contracts import PING
from tests.unit.schema_registry.test_compatibility import LONG, ONE, OPTIONAL


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
    assert read(http.delete(f"/subjects/{GPS}")) == [1, 2, 3]
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
