"""What Avro forbids and no parser for Python refuses: clients in other languages could not parse such a schema."""

from __future__ import annotations

import re
from typing import Any

from avro.schema import ArraySchema, EnumSchema, FixedSchema, MapSchema, RecordSchema, Schema, UnionSchema

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def unsound_fields(schema: Schema) -> list[str]:
    """In words, each field of any record inside ``schema`` with a bad name, or a default that does not fit its type."""
    problems: list[str] = []
    _visit(schema, set(), problems)
    return problems


def _visit(schema: Schema, seen: set[str], problems: list[str]) -> None:
    if isinstance(schema, RecordSchema):
        if schema.fullname in seen:
            return
        seen.add(schema.fullname)
        for field in schema.fields:
            if not _NAME.fullmatch(field.name):
                problems.append(f"{field.name!r} is no name for a field")
            if field.has_default and not _fits(field.type, field.default):
                problems.append(f"the default {field.default!r} of field {field.name} does not fit {field.type}")
            _visit(field.type, seen, problems)
    elif isinstance(schema, UnionSchema):
        for branch in schema.schemas:
            _visit(branch, seen, problems)
    elif isinstance(schema, ArraySchema):
        _visit(schema.items, seen, problems)
    elif isinstance(schema, MapSchema):
        _visit(schema.values, seen, problems)


def _fits(schema: Schema, value: Any) -> bool:
    if isinstance(schema, UnionSchema):
        # The first branch: later releases of Avro take any, older ones, which may read our topics, only this one.
        return bool(schema.schemas) and _fits(schema.schemas[0], value)
    if isinstance(schema, RecordSchema):
        return isinstance(value, dict) and all(
            _fits(field.type, value[field.name]) if field.name in value else field.has_default
            for field in schema.fields
        )
    if isinstance(schema, EnumSchema):
        return isinstance(value, str) and value in schema.symbols
    if isinstance(schema, ArraySchema):
        return isinstance(value, list) and all(_fits(schema.items, item) for item in value)
    if isinstance(schema, MapSchema):
        return isinstance(value, dict) and all(_fits(schema.values, item) for item in value.values())
    if isinstance(schema, FixedSchema):
        return _is_bytes(value) and len(value) == schema.size
    return _fits_primitive(schema.type, value)


def _fits_primitive(kind: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "int":
            return number and isinstance(value, int) and -(2**31) <= value < 2**31
        case "long":
            return number and isinstance(value, int) and -(2**63) <= value < 2**63
        case "float" | "double":
            return number
        case "string":
            return isinstance(value, str)
        case _:
            return _is_bytes(value)


def _is_bytes(value: Any) -> bool:
    """Bytes stand in JSON as a string of the code points 0–255."""
    return isinstance(value, str) and all(ord(character) <= 255 for character in value)
