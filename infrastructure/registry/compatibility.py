"""Whether a reader with a new schema reads what an old one wrote: the rules that a new contract must keep."""

from __future__ import annotations

import json
from typing import Any

import avro.errors
import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType


class InvalidSchema(ValueError):
    """A text that is no Avro schema, or one whose defaults do not fit its types."""


def parse(schema: str) -> avro.schema.Schema:
    """Raises InvalidSchema."""
    try:
        return avro.schema.parse(schema, validate_names=True)
    except (avro.errors.AvroException, ValueError, TypeError, AttributeError) as error:
        raise InvalidSchema(str(error)) from error


def backward_problems(new: str, old: str) -> list[str]:
    """In words, why a reader of ``new`` cannot read all that was written under ``old``; empty = it can.

    Avro's own resolution, and a change of logical type, which it lets pass and which changes every value.
    """
    reader, writer = parse(new), parse(old)
    result = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)
    problems: list[str] = []
    if result.compatibility is not SchemaCompatibilityType.compatible:
        problems = sorted(result.messages) or ["the schemas are incompatible"]
    return problems + _logical_types(json.loads(new), json.loads(old))


def contract_problems(new: str, old: str) -> list[str]:
    """The stricter rule for our own contracts: a rename loses values even where its default makes it readable."""
    return backward_problems(new, old) + _renames(json.loads(new), json.loads(old))


def _fields(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict) or schema.get("type") != "record":
        return {}
    return {field["name"]: field for field in schema["fields"]}


def _renames(new: Any, old: Any) -> list[str]:
    gone = {name: field for name, field in _fields(old).items() if name not in _fields(new)}
    came = {name: field for name, field in _fields(new).items() if name not in _fields(old)}
    return [
        f"field {before} seems to have been renamed to {after}: its values would be lost"
        for before, b in gone.items()
        for after, a in came.items()
        if a["type"] == b["type"] and before not in a.get("aliases", [])
    ]


def _logical_types(new: Any, old: Any) -> list[str]:
    def logical(field: Any) -> Any:
        kind = field["type"]
        return kind.get("logicalType") if isinstance(kind, dict) else None

    return [
        f"field {name} changes its logical type from {logical(field)} to {logical(_fields(new)[name])}"
        for name, field in _fields(old).items()
        if name in _fields(new) and logical(field) != logical(_fields(new)[name])
    ]
