"""``domain.contracts.SchemaIds`` on a schema registry: our own tables, or an external one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from domain.contracts import Contract, contracts, current
from infrastructure.registry.bounds import check_bounds
from infrastructure.registry.compatibility import InvalidSchema
from infrastructure.registry.store import Registered, RegistryStore


class RegistryUnavailable(Exception):
    """The schema registry is away, or refuses; the message says which call failed and why."""


class SchemaRegistry(Protocol):
    """The calls that ids and checks need."""

    def register(self, subject: str, schema: str) -> int: ...

    def schema(self, schema_id: int) -> str | None: ...

    def versions(self, subject: str) -> Sequence[Registered]: ...


class EmbeddedRegistry:
    """Our own registry, from inside: no HTTP between a process and its database."""

    def __init__(self, store: RegistryStore) -> None:
        self._store = store

    def register(self, subject: str, schema: str) -> int:
        return self._store.release(subject, schema).schema_id

    def schema(self, schema_id: int) -> str | None:
        return self._store.schema(schema_id)

    def versions(self, subject: str) -> list[Registered]:
        return self._store.versions(subject)


def register_each(registry: SchemaRegistry) -> Iterator[tuple[Contract, int]]:
    """Every released contract with its id, oldest first.

    In this order the registry checks each step of the evolution, and clients find the versions under our numbers.
    Raises what the registry raises.
    """
    for contract in contracts():
        yield contract, registry.register(contract.subject, json.dumps(contract.schema))


def register_all(registry: SchemaRegistry) -> dict[str, int]:
    """Ids of the current contracts, by record, after all are registered. Raises what the registry raises."""
    return {contract.record: number for contract, number in register_each(registry)}


class RegisteredIds:
    """Ids of a registry in which all contracts are registered: at start, and before the first id after ``forget``."""

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
        # An error of data, by which one event is undecodable; not one of the registry, which would stop them all.
        try:
            check_bounds(text)
            schema = json.loads(text)
        except InvalidSchema as error:
            raise LookupError(f"schema {schema_id} cannot be read: {error}") from error
        if not isinstance(schema, dict) or not isinstance(schema.get("name"), str):
            raise LookupError(f"schema {schema_id} is no record")
        return schema

    def forget(self) -> None:
        self._ids = {}
