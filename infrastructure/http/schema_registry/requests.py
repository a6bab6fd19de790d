"""Parses and validates requests to the registry before they reach the database.

Query parameters are read as leniently as Confluent's registry does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from litestar import Request

from domain.timestamps import json_integer
from infrastructure.http.errors import ApiError
from infrastructure.http.paging import whole_number
from infrastructure.http.ping_body import SMALL_BODY_BYTES
from infrastructure.http.request_body import decode_json, read_body
from infrastructure.schema_registry.compatibility import InvalidSchema, Level
from infrastructure.schema_registry.errors import RegistryRefusal
from infrastructure.schema_registry.queries import Show
from infrastructure.schema_registry.subject_settings import Mode

MAX_BODY_BYTES: Final = 1024 * 1024
"""A schema of MAX_SCHEMA_BYTES takes six times its size where each character is escaped. Larger ones that were
registered before the bounds can still be looked up."""

MAX_SETTING_BYTES: Final = 64 * 1024

MAX_SUBJECT_CODE_POINTS: Final = 512

_LATEST: Final = {"latest", "-1"}
_MODES_OF_OTHERS: Final = {"IMPORT", "READONLY_OVERRIDE", "FORWARD"}
_HARMLESS: Final = {"compatibility", "compatibilityLevel", "normalize"}

_Request = Request[Any, Any, Any]


class _Candidate(msgspec.Struct, rename="camel"):
    # Fields that are only rejected stay raw: parsing a megabyte of brackets would block the event loop.
    schema: str
    schema_type: str | None = None
    references: msgspec.Raw = msgspec.Raw()
    rule_set: msgspec.Raw = msgspec.Raw()
    metadata: msgspec.Raw = msgspec.Raw()
    id: int | float | None = None
    version: int | float | None = None


_CANDIDATE: Final = msgspec.json.Decoder(_Candidate)
_EMPTY: Final = {b"", b"null", b"{}", b"[]"}


async def candidate_schema(request: _Request) -> str:
    """Returns the schema in a request's body. Raises InvalidSchema, RegistryRefusal, ApiError."""
    body = await read_body(request, MAX_BODY_BYTES)
    try:
        candidate = _CANDIDATE.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidSchema(str(error)) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        if len(body) > SMALL_BODY_BYTES:
            raise ApiError(400, "malformed_json", f"the body is no JSON: {error}") from error
        decode_json(body)  # raises ApiError 400, unless it is lenient JSON, with NaN or a lone surrogate
        raise InvalidSchema(f"the body has what no schema has: {error}") from error
    # Ignoring any of these would register another schema than the client intended.
    if candidate.schema_type not in {None, "AVRO"} or _has(candidate.references) or _has(candidate.metadata):
        raise InvalidSchema("this registry keeps Avro schemas, without references, metadata and rules")
    if _has(candidate.rule_set):
        raise RegistryRefusal(42210, "Invalid ruleset: this registry keeps Avro schemas, without rules")
    if _integer(candidate.id, "id") > 0 or _integer(candidate.version, "version") > 0:
        raise RegistryRefusal(42205, "ids and versions are numbered by this registry: it has no import mode")
    return candidate.schema


def _integer(value: float | None, name: str) -> int:
    number = 0 if value is None else json_integer(value)
    if number is None:
        raise InvalidSchema(f"{name} is an integer, not {value}")
    return number


def _has(value: msgspec.Raw) -> bool:
    return b"".join(bytes(memoryview(value)[:64]).split()) not in _EMPTY


async def level_asked(request: _Request) -> Level:
    """Returns the compatibility level in a request's body.

    Raises RegistryRefusal 42203, or 42205 for settings that this registry does not have.
    """
    body = await _object(request)
    name = body.get("compatibility", body.get("compatibilityLevel"))
    others = sorted(name for name, value in body.items() if value and name not in _HARMLESS)
    if others:
        raise RegistryRefusal(42205, f"this registry has the setting compatibility, not {', '.join(others)[:200]}")
    level = name.upper() if isinstance(name, str) else ""
    if level not in list(Level):
        raise RegistryRefusal(42203, f"Invalid compatibility level. Valid values are {', '.join(Level)}")
    return Level(level)


async def mode_asked(request: _Request) -> Mode:
    """Returns the mode in a request's body.

    Raises RegistryRefusal 42204, or 42205 for a mode that this registry does not support.
    """
    name = (await _object(request)).get("mode")
    mode = name.upper() if isinstance(name, str) else ""
    if mode in list(Mode):
        return Mode(mode)
    if mode in _MODES_OF_OTHERS:
        raise RegistryRefusal(42205, f"mode {mode} is not supported: ids are given by this registry alone")
    raise RegistryRefusal(42204, f"Invalid mode. Valid values are {', '.join(Mode)}")


async def _object(request: _Request) -> dict[str, Any]:
    body = decode_json(await read_body(request, MAX_SETTING_BYTES))
    return body if isinstance(body, dict) else {}


def version_number(text: str) -> int | None:
    """Parses a version number. None is the latest, which clients also call -1. Raises RegistryRefusal 42202."""
    if text in _LATEST:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) < 2**31:
        return int(text)
    raise RegistryRefusal(42202, f"The specified version '{text[:64]}' is not a valid version id: 1, 2, … or latest")


async def check_subject(request: _Request) -> None:
    """Raises RegistryRefusal 42208 for a subject that Postgres cannot store (0x00) or that is not printable."""
    subject = request.path_params.get("subject")
    if subject is not None and not (subject.isprintable() and len(subject) <= MAX_SUBJECT_CODE_POINTS):
        raise RegistryRefusal(42208, f"The specified subject '{subject[:64]!r}' is not a valid subject.")


T = TypeVar("T")

_ALL_CONTEXTS = ":*:"


class SchemaQuery(NamedTuple):
    """The query of one request. ``limit`` None means no limit."""

    show: Show
    permanent: bool
    verbose: bool
    latest_only: bool
    default_to_global: bool
    prefix: str
    offset: int
    limit: int | None

    def part(self, items: Sequence[T]) -> list[T]:
        """Returns the requested page."""
        end = None if self.limit is None else self.offset + self.limit
        return list(items[self.offset : end])


def asked(request: Request[Any, Any, Any]) -> SchemaQuery:
    """Raises ApiError 400 for an offset or a limit that is not a number."""
    query = request.query_params

    def flag(*names: str) -> bool:
        # Compared without case: clients for Python send True and False. Any other value is false.
        return any(query.get(name, "").lower() == "true" for name in names)

    # Clients for Java spell it one way, those for Python the other.
    only = flag("deletedOnly", "deleted_only")
    limit = _number(request, "limit", -1)
    return SchemaQuery(
        show="deleted" if only else "all" if flag("deleted") else "live",
        permanent=flag("permanent"),
        verbose=flag("verbose"),
        latest_only=flag("latestOnly", "latest_only"),
        default_to_global=flag("defaultToGlobal"),
        prefix=query.get("subjectPrefix", "").removeprefix(_ALL_CONTEXTS),
        offset=max(0, _number(request, "offset", 0)),
        limit=None if limit < 0 else limit,
    )


def _number(request: Request[Any, Any, Any], name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    return whole_number(f"?{name}=", text)
