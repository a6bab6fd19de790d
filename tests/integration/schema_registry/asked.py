"""What is asked of the registry, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from confluent_kafka.schema_registry import Schema
from confluent_kafka.schema_registry.error import SchemaRegistryError

GPS = "com.delivery.events.GpsPing"

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


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
