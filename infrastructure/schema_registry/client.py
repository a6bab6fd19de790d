"""Implements ``domain.events.contracts.SchemaIds`` on the schema registry that the settings name.

That is the embedded one, on our own tables, or a Confluent-compatible one by URL. Answers of the latter are bounded
before they are parsed (invariant 16).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol
from urllib.parse import quote

import httpx
import msgspec
from sqlalchemy import Engine

from domain.events.contracts import Contract, SchemaIds, contracts, current
from infrastructure.schema_registry.compatibility import InvalidSchema
from infrastructure.schema_registry.errors import Incompatible
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


MAX_ANSWER_BYTES: Final = 1024 * 1024
MAX_VERSIONS: Final = 1_000
MAX_VERSIONS_BYTES: Final = 32 * 1024 * 1024
"""Limit for all texts of one subject, which are in memory at once."""

_MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"


class ExternalRegistry:
    """A registry by URL. User and password in ``url`` never appear in a message.

    Raises RegistryUnavailable if ``url`` is not a URL.
    """

    def __init__(self, url: str, timeout_s: float = 10.0, answer_within_s: float = 30.0) -> None:
        """``timeout_s`` bounds each wait for the server, ``answer_within_s`` one answer as a whole."""
        self._answer_within_s = answer_within_s
        try:
            self._client = httpx.Client(
                base_url=url.rstrip("/"),
                timeout=timeout_s,
                headers={
                    "Content-Type": _MEDIA_TYPE,
                    "Accept": f"{_MEDIA_TYPE}, application/json",
                    "Accept-Encoding": "identity",  # a few compressed bytes may be a gigabyte
                },
            )
        except httpx.InvalidURL as error:
            raise RegistryUnavailable("the address of the schema registry is no URL") from error

    def register(self, subject: str, schema: str) -> int:
        """Registers ``schema`` and returns its id. Raises Incompatible or RegistryUnavailable."""
        path = f"/subjects/{quote(subject, safe='')}/versions"
        answer = self._call("POST", path, {"schema": schema})
        if answer.status == 409:
            raise Incompatible(f"the schema registry refuses {subject}: {answer.shown()}")
        number: int = answer.field("id", _is_id)
        return number

    def schema(self, schema_id: int) -> str | None:
        """Returns the text of a schema, None for an unknown id. Raises RegistryUnavailable."""
        answer = self._call("GET", f"/schemas/ids/{schema_id}")
        return None if answer.status == 404 else answer.field("schema", _is_text)

    def versions(self, subject: str) -> list[RegisteredSchema]:
        """Returns all versions, oldest first; empty for an unknown subject. Raises RegistryUnavailable."""
        path = f"/subjects/{quote(subject, safe='')}/versions"
        answer = self._call("GET", path)
        if answer.status == 404:
            return []
        numbers = answer.value()
        if not (isinstance(numbers, list) and all(map(_is_id, numbers))):
            raise answer.foreign()
        if len(numbers) > MAX_VERSIONS:
            raise RegistryUnavailable(f"the schema registry has {len(numbers):,} versions of {subject}: too many")
        found: list[RegisteredSchema] = []
        size = 0
        for number in sorted(numbers):
            one = self._call("GET", f"{path}/{number}")
            text = one.field("schema", _is_text)
            size += len(text)
            if size > MAX_VERSIONS_BYTES:
                raise RegistryUnavailable(f"the versions of {subject} in the schema registry are too large in all")
            found.append(RegisteredSchema(subject, one.field("version", _is_id), one.field("id", _is_id), text))
        return found

    def close(self) -> None:
        self._client.close()

    def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> _Answer:
        called = f"{method} {path}"
        deadline = time.monotonic() + self._answer_within_s
        data = bytearray()
        try:
            with self._client.stream(method, path, json=body) as answer:
                # Not the URL of the answer: it contains the password.
                called = f"{method} {answer.request.url.path}"
                for chunk in answer.iter_bytes():
                    data += chunk
                    if len(data) > MAX_ANSWER_BYTES:
                        raise RegistryUnavailable(
                            f"the schema registry answers {called} with more than {MAX_ANSWER_BYTES:,} bytes"
                        )
                    if time.monotonic() > deadline:
                        raise RegistryUnavailable(
                            f"the schema registry takes more than {self._answer_within_s:.0f} s to answer {called}"
                        )
        except httpx.HTTPError as error:
            raise RegistryUnavailable(f"the schema registry does not answer {called}: {error!r}") from error
        return _Answer(called, answer.status_code, bytes(data))


class _Answer:
    """One complete answer of the registry."""

    def __init__(self, called: str, status: int, body: bytes) -> None:
        self.status = status
        self._called = called
        self._body = body

    def value(self) -> Any:
        """Returns the JSON value. Raises RegistryUnavailable unless the status is 200."""
        if self.status != 200:
            raise RegistryUnavailable(
                f"the schema registry answers {self._called} with {self.status}: {self.shown(500)}"
            )
        try:
            return msgspec.json.decode(self._body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise self.foreign() from error

    def field(self, name: str, fits: Callable[[Any], bool]) -> Any:
        """Returns one field of the JSON object. Raises RegistryUnavailable if it is missing or has another type."""
        value = self.value()
        found = value.get(name) if isinstance(value, dict) else None
        if not fits(found):
            raise self.foreign()
        return found

    def foreign(self) -> RegistryUnavailable:
        return RegistryUnavailable(f"what answers {self._called} is no schema registry: {self.shown()}")

    def shown(self, chars: int = 200) -> str:
        """Returns the beginning of the body, with printable characters only (it may go to a terminal)."""
        text = self._body[: 4 * chars].decode(errors="replace")[:chars]
        return "".join(char if char.isprintable() else " " for char in text)


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**31


def _is_text(value: Any) -> bool:
    return type(value) is str


def registry_of(settings: Settings, engine: Engine) -> SchemaRegistry:
    """Returns the external registry if the settings name one, else the embedded one."""
    if settings.schema_registry_url is not None:
        return ExternalRegistry(settings.schema_registry_url)
    return EmbeddedRegistry(RegistryStore(engine))


def schema_ids(settings: Settings, engine: Engine) -> SchemaIds:
    """Returns ids from the registry of the settings, after registering all released contracts there."""
    return RegisteredIds(registry_of(settings, engine))
