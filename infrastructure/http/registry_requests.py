"""What clients send to the registry, judged before it reaches the database."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import Request

from infrastructure.http.bodies import decode_json, read_body
from infrastructure.http.registry_errors import RegistryError
from infrastructure.registry.compatibility import InvalidSchema

MAX_BODY_BYTES: Final = 1024 * 1024
"""A schema is a few kilobytes; comparing two takes time that grows with both."""

MAX_SUBJECT_CODE_POINTS: Final = 512

_LATEST: Final = {"latest", "-1"}


class _Candidate(msgspec.Struct, rename="camel"):
    schema: str
    schema_type: str | None = None
    references: list[Any] | None = None
    rule_set: Any = None


async def candidate_schema(request: Request[Any, Any, Any]) -> str:
    """The schema in a request's body. Raises InvalidSchema, ApiError."""
    body = decode_json(await read_body(request, MAX_BODY_BYTES))
    try:
        candidate = msgspec.convert(body, _Candidate)
    except msgspec.ValidationError as error:
        raise InvalidSchema(str(error)) from error
    # To ignore these would register a schema that says something else than the client meant.
    if candidate.schema_type not in {None, "AVRO"} or candidate.references or candidate.rule_set:
        raise InvalidSchema("this registry keeps Avro schemas, without references and without rules")
    return candidate.schema


def version_number(text: str) -> int | None:
    """None is the latest, which clients also call -1. Raises RegistryError."""
    if text in _LATEST:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) < 2**31:
        return int(text)
    raise RegistryError(422, 42202, f"The specified version '{text}' is not a valid version id: 1, 2, … or latest")


async def check_subject(request: Request[Any, Any, Any]) -> None:
    """Raises RegistryError for a subject that Postgres cannot hold (0x00) or no person can read."""
    subject = request.path_params.get("subject")
    if subject is not None and not (subject.isprintable() and len(subject) <= MAX_SUBJECT_CODE_POINTS):
        raise RegistryError(422, 42208, f"The specified subject '{subject[:64]!r}' is not a valid subject.")
