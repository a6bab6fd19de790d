"""Implements ``domain.events.contracts.SchemaIds`` on the schema registry that the settings name.

That is the embedded one, on our own tables, or a Confluent-compatible one by URL.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from sqlalchemy import Engine

from domain.events.contracts import Contract, SchemaIds, contracts, current
from infrastructure.schema_registry.compatibility import InvalidSchema
from infrastructure.schema_registry.queries import RegisteredSchema
from infrastructure.schema_registry.schema_bounds import check_bounds
from infrastructure.schema_registry.store import RegistryStore
from infrastructure.settings.settings import Settings


class RegistryUnavailable(Exception):
    """The schema registry is unavailable or rejects a call. The message says which call failed and why."""


class SchemaRegistry(Protocol):
    """The calls that schema ids and release checks need."""

    def register(self, subject: str, schema: str) -> int: ...

    def schema(self, schema_id: int) -> str | None: ...

    def versions(self, subject: str) -> Sequence[RegisteredSchema]: ...


class EmbeddedRegistry:
    """Our own registry, called directly: no HTTP between a process and its database."""

    def __init__(self, store: RegistryStore) -> None:
        self._store = store

    def register(self, subject: str, schema: str) -> int:
        return self._store.release(subject, schema).schema_id

    def schema(self, schema_id: int) -> str | None:
        return self._store.schema(schema_id)

    def versions(self, subject: str) -> list[RegisteredSchema]:
        return self._store.versions(subject)


def register_each(registry: SchemaRegistry) -> Iterator[tuple[Contract, int]]:
    """Registers every released contract, oldest first, and yields it with its id.

    In this order the registry checks each step of the evolution, and its version numbers equal ours.
    Raises what the registry raises.
    """
    for contract in contracts():
        yield contract, registry.register(contract.subject, json.dumps(contract.schema))


def register_all(registry: SchemaRegistry) -> dict[str, int]:
    """Registers all contracts. Returns the ids of the current ones by record. Raises what the registry raises."""
    return {contract.record: number for contract, number in register_each(registry)}


class RegisteredIds:
    """Ids of all contracts. Registers them at start, and before the first id after ``forget``."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._ids = register_all(registry)

    def id_of(self, record: str) -> int:
        if not self._ids:
            self._ids = register_all(self._registry)
        return self._ids[current(record).record]

    def schema_of(self, schema_id: int) -> dict[str, Any]:
        text = self._registry.schema(schema_id)
        if text is None:
            raise LookupError(f"the registry knows no schema {schema_id}")
        # Invariant 16: an error of data makes one event undecodable. An error of the registry would stop all.
        try:
            check_bounds(text)
            schema = json.loads(text)
        except InvalidSchema as error:
            raise LookupError(f"schema {schema_id} cannot be read: {error}") from error
        if not isinstance(schema, dict) or not isinstance(schema.get("name"), str):
            raise LookupError(f"schema {schema_id} is not a record")
        return schema

    def forget(self) -> None:
        self._ids = {}


def registry_of(settings: Settings, engine: Engine) -> SchemaRegistry:
    """Returns the external registry if the settings name one, else the embedded one."""
    if settings.schema_registry_url is not None:
        # The HTTP client costs each process a tenth of its start, and the embedded registry needs none.
        from infrastructure.schema_registry.external import ExternalRegistry

        return ExternalRegistry(settings.schema_registry_url)
    return EmbeddedRegistry(RegistryStore(engine))


def schema_ids(settings: Settings, engine: Engine) -> SchemaIds:
    """Returns ids from the registry of the settings, after registering all released contracts there."""
    return RegisteredIds(registry_of(settings, engine))
