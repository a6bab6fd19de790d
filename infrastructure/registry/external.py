"""A Confluent-compatible registry by URL."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from infrastructure.registry.ids import RegistryUnavailable
from infrastructure.registry.refusals import Incompatible
from infrastructure.registry.rows import Registered

_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


class ExternalRegistry:
    """``url`` may hold user and password; they never reach a message. Raises RegistryUnavailable if it is no URL."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        try:
            self._client = httpx.Client(
                base_url=url.rstrip("/"),
                timeout=timeout_s,
                headers={"Content-Type": _MEDIA_TYPE, "Accept": f"{_MEDIA_TYPE}, application/json"},
            )
        except httpx.InvalidURL as error:
            raise RegistryUnavailable("the address of the schema registry is no URL") from error

    def register(self, subject: str, schema: str) -> int:
        """The schema's id. Raises Incompatible or RegistryUnavailable."""
        path = f"/subjects/{quote(subject, safe='')}/versions"
        answer = self._call("POST", path, {"schema": schema})
        if answer.status_code == 409:
            raise Incompatible(f"the schema registry refuses {subject}: {answer.text}")
        return int(self._field(answer, "id"))

    def schema(self, schema_id: int) -> str | None:
        """Its text, None for an unknown id. Raises RegistryUnavailable."""
        answer = self._call("GET", f"/schemas/ids/{schema_id}")
        return None if answer.status_code == 404 else str(self._field(answer, "schema"))

    def versions(self, subject: str) -> list[Registered]:
        """Oldest first; empty for an unknown subject. Raises RegistryUnavailable."""
        path = f"/subjects/{quote(subject, safe='')}/versions"
        numbers = self._call("GET", path)
        if numbers.status_code == 404:
            return []
        found = [self._call("GET", f"{path}/{number}") for number in sorted(self._json(numbers))]
        return [
            Registered(
                subject, int(self._field(one, "version")), int(self._field(one, "id")), str(self._field(one, "schema"))
            )
            for one in found
        ]

    def close(self) -> None:
        self._client.close()

    def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx.Response:
        try:
            return self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise RegistryUnavailable(f"the schema registry does not answer {method} {path}: {error!r}") from error

    @classmethod
    def _field(cls, answer: httpx.Response, name: str) -> Any:
        try:
            return cls._json(answer)[name]
        except (KeyError, TypeError) as error:
            raise cls._stranger(answer) from error

    @classmethod
    def _json(cls, answer: httpx.Response) -> Any:
        if answer.status_code != 200:
            raise RegistryUnavailable(
                f"the schema registry answers {_called(answer)} with {answer.status_code}: {answer.text[:500]}"
            )
        try:
            return answer.json()
        except ValueError as error:
            raise cls._stranger(answer) from error

    @staticmethod
    def _stranger(answer: httpx.Response) -> RegistryUnavailable:
        return RegistryUnavailable(f"what answers {_called(answer)} is no schema registry: {answer.text[:200]}")


def _called(answer: httpx.Response) -> str:
    """Not the URL of the answer: it holds the password."""
    return f"{answer.request.method} {answer.request.url.path}"
