"""Compatibility levels and modes, of a subject and of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient, ServerConfig
from confluent_kafka.schema_registry.common.schema_registry_client import ConfigCompatibilityLevel

from infrastructure.schema_registry.client import EmbeddedRegistry, register_all
from infrastructure.schema_registry.errors import RegistryRefusal
from infrastructure.schema_registry.store import RegistryStore
from tests.integration.schema_registry.asked import avro, code, read, refusal
from tests.unit.schema_registry.test_compatibility import ONE, OPTIONAL, REQUIRED

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
    with pytest.raises(RegistryRefusal):
        store.register("u", ONE)
    assert register_all(EmbeddedRegistry(store)), "no mode keeps a node from starting"
