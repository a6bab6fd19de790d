"""The Avro contracts of all events, and the codec. The command side encodes once; every version stays readable.

Framing is Confluent's: 0x00, the schema's id in the registry as 4 bytes big-endian, the Avro body.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from functools import cache
from importlib import resources
from io import BytesIO
from typing import Any, NamedTuple, Protocol

import fastavro
from fastavro.types import Schema

from domain.identifiers import derive_event_id, is_event_id

NAMESPACE = "com.delivery.events"
MAGIC = 0

_FRAME = struct.Struct(">BI")
_FILE = re.compile(r"(?P<stem>[a-z_]+)\.v(?P<version>\d+)\.avsc")


class Contract(NamedTuple):
    """One released version of one record; ``schema`` is the .avsc file as parsed JSON."""

    record: str
    version: int
    schema: dict[str, Any]

    @property
    def subject(self) -> str:
        return f"{NAMESPACE}.{self.record}"


class FrameError(ValueError):
    """Bytes that are not a whole frame of this format."""


class UndecodableError(ValueError):
    """A frame whose body no contract can decode: unknown schema, truncated, trailing bytes, broken text."""


class SchemaIds(Protocol):
    """The schema registry, as the codec uses it."""

    def id_of(self, record: str) -> int:
        """Id of the current contract of ``record``."""
        ...

    def schema_of(self, schema_id: int) -> dict[str, Any]:
        """The writer schema of an id as parsed JSON. Raises LookupError for an id that the registry does not know."""
        ...

    def forget(self) -> None:
        """Drop cached ids, since the registry may have been restored to an older state. Raises nothing."""
        ...


@cache
def contracts() -> tuple[Contract, ...]:
    """All released contracts, by record and version."""
    found = []
    for file in resources.files("domain.events").iterdir():
        match = _FILE.fullmatch(file.name)
        if match:
            schema = json.loads(file.read_text(encoding="utf-8"))
            found.append(Contract(schema["name"], int(match["version"]), schema))
    return tuple(sorted(found, key=lambda contract: (contract.record, contract.version)))


def versions(record: str) -> tuple[Contract, ...]:
    """Released versions of one record, oldest first. Raises LookupError for an unknown one."""
    found = tuple(contract for contract in contracts() if contract.record == record)
    if not found:
        raise LookupError(f"no contract of a record {record!r} in domain/events")
    return found


def current(record: str) -> Contract:
    """The version that is written today."""
    return versions(record)[-1]


def frame(schema_id: int, body: bytes) -> bytes:
    return _FRAME.pack(MAGIC, schema_id) + body


def split_frame(payload: bytes) -> tuple[int, bytes]:
    """Schema id and body. Raises FrameError."""
    return _schema_id(payload), payload[_FRAME.size :]


def _derived(data: Mapping[str, Any]) -> str:
    """Derive the event id of a ping of contract 1, which had none, as ingest does for a phone that sends none.

    Raises ValueError for an id that is not a UUID: otherwise only some folds would fail, each at another event.
    """
    if data["event_id"]:
        raise ValueError("event_id is not a UUID")
    return derive_event_id(data["rider_id"], data["event_timestamp_ms"], data["latitude"], data["longitude"])


def _schema_id(payload: bytes) -> int:
    if len(payload) < _FRAME.size:
        raise FrameError(f"{len(payload)} bytes are not a frame")
    magic, schema_id = _FRAME.unpack_from(payload)
    if magic != MAGIC:
        raise FrameError(f"a frame starts with 0x00, not 0x{magic:02x}")
    return int(schema_id)


_TAILS: dict[bytes, bool | None] = {b"\x00": None, b"\x02\x00": False, b"\x02\x01": True}
"""What Avro stores of a field ``["null", "boolean"]``, and its value."""
_TAIL_OF = {value: tail for tail, value in _TAILS.items()}


class _Writer(NamedTuple):
    head: bytes
    schema: Schema
    # The schema without its last field, and that field, if it is ["null", "boolean"]: fastavro spends 0.9 µs on one.
    short: Schema | None
    tail: str


class _Reader(NamedTuple):
    is_ping: bool
    writer: Schema
    # As for a writer.
    tail: str
    # None if the current contract has the writer's fields, then only others: resolving costs 1.4 µs a ping and more.
    reader: Schema | None
    # The defaults of those others.
    added: dict[str, Any]


_UNREADABLE = (
    ValueError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    fastavro.schema.SchemaParseException,
    fastavro.read.SchemaResolutionError,
)
"""What fastavro is known to raise for bytes or schemas that it cannot read; not an unavailable registry."""


class Codec:
    """Encodes under the current contracts and decodes payloads of every registered one (invariant 12)."""

    def __init__(self, ids: SchemaIds) -> None:
        self._ids = ids
        self._writers: dict[str, _Writer] = {}
        # By the first bytes of a payload, so that only a new prefix is parsed: every event of every fold comes here.
        self._readers: dict[bytes, _Reader] = {}

    def forget(self) -> None:
        """Drop all cached ids, because the log was restored, and with it the registry.

        An id may be missing from the registry now, or name another schema: payloads under such an id would be
        unreadable. Ids are requested again when one is needed. Raises nothing.
        """
        self._ids.forget()
        self._writers, self._readers = {}, {}

    def encode(self, record: str, data: Mapping[str, Any]) -> bytes:
        """The framed record.

        Raises ValueError, TypeError or OverflowError if ``data`` does not fit the contract, and what ``SchemaIds``
        raises while the registry is unavailable.
        """
        writer = self._writers.get(record)
        if writer is None:
            schema = current(record).schema
            head = _FRAME.pack(MAGIC, self._ids.id_of(record))
            short, tail = _without_tail(schema)
            writer = self._writers[record] = _Writer(head, fastavro.parse_schema(schema), short, tail)
        out = BytesIO()
        out.write(writer.head)
        if writer.short is not None and ((value := data.get(writer.tail)) is None or type(value) is bool):
            fastavro.schemaless_writer(out, writer.short, data)
            out.write(_TAIL_OF[value])
        else:
            fastavro.schemaless_writer(out, writer.schema, data)
        return out.getvalue()

    def decode(self, payload: bytes) -> dict[str, Any]:
        """The record, resolved to the current contract.

        Raises UndecodableError for bytes that cannot be decoded, whatever they are, and what ``SchemaIds`` raises while
        the registry is unavailable.
        """
        try:
            is_ping, writer, tail, reader, added = self._readers.get(payload[: _FRAME.size]) or self._resolve(payload)
            body = BytesIO(payload)
            body.seek(_FRAME.size)
            data = fastavro.schemaless_reader(body, writer, reader)
            assert isinstance(data, dict)
            if tail:
                data[tail] = _value_of(body.read())
            elif added:
                data |= added
            if is_ping and not is_event_id(data["event_id"]):
                data["event_id"] = _derived(data)
        except _UNREADABLE as error:
            # Not its repr: that of a UnicodeDecodeError has the bytes, and with them a rider's location.
            reason = f"{type(error).__name__}: {error}"
            raise UndecodableError(f"undecodable payload of {len(payload)} bytes: {reason}") from error
        if body.tell() != len(payload):
            # fastavro stops when it has all fields: a frame of another contract would be accepted as one of ours.
            raise UndecodableError(f"{len(payload) - body.tell()} bytes are left over after the record")
        return data

    def _resolve(self, payload: bytes) -> _Reader:
        schema_id = _schema_id(payload)
        schema = self._ids.schema_of(schema_id)
        writer = fastavro.parse_schema(schema)
        assert isinstance(writer, dict)
        namespace, _, record = writer["name"].rpartition(".")
        if namespace != NAMESPACE:
            raise LookupError(f"schema {schema_id} is {writer['name']}, which is not of {NAMESPACE}")
        today = current(record).schema
        added = _added_fields(schema, today)
        reader = fastavro.parse_schema(today) if added is None else None
        short, tail = _without_tail(schema) if added == {} else (None, "")
        found = _Reader(record == "GpsPing", short or writer, tail, reader, added or {})
        self._readers[payload[: _FRAME.size]] = found
        return found


def _value_of(tail: bytes) -> bool | None:
    """The value of a last field ``["null", "boolean"]``. Raises ValueError for any other bytes."""
    if tail not in _TAILS:
        raise ValueError(f"the last {len(tail)} bytes are no value of the last field")
    return _TAILS[tail]


def _without_tail(schema: dict[str, Any]) -> tuple[Schema | None, str]:
    """The schema without its last field, and the name of that, if it is ``["null", "boolean"]``; else None and ""."""
    *fields, last = schema["fields"]
    if last["type"] != ["null", "boolean"]:
        return None, ""
    return fastavro.parse_schema({**schema, "fields": fields}), last["name"]


def _added_fields(writer: Mapping[str, Any], reader: Mapping[str, Any]) -> dict[str, Any] | None:
    """The defaults of the fields that ``reader`` has after those of ``writer``; None if it differs in any other way.

    Every contract so far has only added fields at its end, so a record of an earlier one is what its writer wrote, with
    these defaults. Everything else is resolved by the rules of Avro.
    """
    before, now = writer["fields"], reader["fields"]
    written = [(field["name"], field["type"]) for field in before]
    if written != [(field["name"], field["type"]) for field in now[: len(before)]]:
        return None
    added = now[len(before) :]
    if not all(isinstance(field.get("default", ()), str | int | None) for field in added):
        return None
    return {field["name"]: field["default"] for field in added}
