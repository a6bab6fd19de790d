"""``domain.contracts.SchemaIds`` on our registry's tables, or on an external Confluent-compatible registry."""

from __future__ import annotations

import json
from typing import Any, Protocol

import httpx

from domain.contracts import contracts, current
from infrastructure.registry.store import Incompatible, RegistryStore


class RegistryUnavailable(Exception):
    """The schema registry is away, or refuses; the message says which call failed and why."""


class SchemaRegistry(Protocol):
    """The two calls that ids need."""

    def register(self, subject: str, schema: str) -> int: ...

    def schema(self, schema_id: int) -> str | None: ...


class EmbeddedRegistry:
    def __init__(self, store: RegistryStore) -> None:
        self._store = store

    def register(self, subject: str, schema: str) -> int:
        return self._store.register(subject, schema).schema_id

    def schema(self, schema_id: int) -> str | None:
        return self._store.schema(schema_id)


class ExternalRegistry:
    """A registry by URL; user and password may be part of it."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(
            base_url=url.rstrip("/"),
            timeout=10.0,
            headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
        )

    def register(self, subject: str, schema: str) -> int:
        answer = self._call("POST", f"/subjects/{subject}/versions", {"schema": schema})
        if answer.status_code == 409:
            raise Incompatible(f"{subject}: {answer.text}")
        return int(self._json(answer)["id"])

    def schema(self, schema_id: int) -> str | None:
        answer = self._call("GET", f"/schemas/ids/{schema_id}")
        return None if answer.status_code == 404 else str(self._json(answer)["schema"])

    def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx.Response:
        try:
            return self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise RegistryUnavailable(f"schema registry: {method} {path}: {error}") from error

    @staticmethod
    def _json(answer: httpx.Response) -> dict[str, Any]:
        if answer.status_code != 200:
            raise RegistryUnavailable(f"schema registry: {answer.request.url}: {answer.status_code} {answer.text}")
        found = answer.json()
        assert isinstance(found, dict)
        return found


class RegisteredIds:
    """Registers every released contract, oldest first, so that the registry checks each step of the evolution."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._ids: dict[str, int] = {}
        for contract in contracts():
            self._ids[contract.record] = registry.register(contract.subject, json.dumps(contract.schema))

    def id_of(self, record: str) -> int:
        return self._ids[current(record).record]

    def schema_of(self, schema_id: int) -> dict[str, Any]:
        text = self._registry.schema(schema_id)
        if text is None:
            raise LookupError(f"the registry knows no schema {schema_id}")
        schema = json.loads(text)
        if not isinstance(schema, dict):
            raise LookupError(f"schema {schema_id} is no record")
        return schema
