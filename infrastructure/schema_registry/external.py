"""A Confluent-compatible schema registry by URL. Its answers are bounded before they are parsed (invariant 16)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec

from infrastructure.schema_registry.client import RegistryUnavailable
from infrastructure.schema_registry.errors import Incompatible
from infrastructure.schema_registry.queries import RegisteredSchema

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
