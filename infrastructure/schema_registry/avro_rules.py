"""Rules that the Avro libraries do not enforce: ambiguous aliases, logical types, names and defaults.

* An alias that matches more than one field: each library chooses another field, and some choose none.
* A change of a logical type: Avro resolves the bytes without an error, and every value then means something else.
* What Avro forbids and no parser for Python rejects: clients in other languages could not parse such a schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from avro.schema import ArraySchema, EnumSchema, Field, FixedSchema, MapSchema, RecordSchema, Schema, UnionSchema


def ambiguous_aliases(reader: Schema, writer: Schema) -> list[str]:
    """Reports each record field that a reader of ``reader`` could take from, or share with, two other fields."""
    written = {record.name: record for record in _records(writer, set())}
    return [
        problem
        for record in _records(reader, set())
        if record.name in written and record != written[record.name]
        for problem in _of_record(record, written[record.name])
    ]


def _of_record(reader: RecordSchema, writer: RecordSchema) -> list[str]:
    found = []
    names = [field.name for field in writer.fields]
    for field in reader.fields:
        sources = [name for name in names if name in _names(field)]
        if len(sources) > 1:
            found.append(f"field {field.name} of {reader.name} could be read from any of {', '.join(sources)}")
    for name in names:
        takers = [field.name for field in reader.fields if name in _names(field)]
        if len(takers) > 1:
            found.append(f"field {name} of {writer.name} could be read as any of {', '.join(takers)}")
    return found


def _names(field: Field) -> set[str]:
    aliases = field.props.get("aliases")
    return {field.name, *(alias for alias in (aliases if isinstance(aliases, list) else []) if isinstance(alias, str))}


def _records(schema: Schema, seen: set[str]) -> Iterator[RecordSchema]:
    if isinstance(schema, RecordSchema) and schema.fullname not in seen:
        seen.add(schema.fullname)
        yield schema
        for field in schema.fields:
            yield from _records(field.type, seen)
    elif isinstance(schema, UnionSchema):
        for branch in schema.schemas:
            yield from _records(branch, seen)
    elif isinstance(schema, ArraySchema):
        yield from _records(schema.items, seen)
    elif isinstance(schema, MapSchema):
        yield from _records(schema.values, seen)


_LOGICAL_KEYS = ("logicalType", "precision", "scale")


def logical_type_changes(new: Any, old: Any, where: str = "the schema") -> list[str]:
    """Reports each place of two schemas (parsed JSON) where the same type has another logical type."""
    if isinstance(new, list) or isinstance(old, list):
        branches = {_kind(branch): branch for branch in (new if isinstance(new, list) else [new])}
        return [
            change
            for branch in (old if isinstance(old, list) else [old])
            if _kind(branch) in branches
            for change in logical_type_changes(branches[_kind(branch)], branch, where)
        ]
    if _kind(new) != _kind(old):
        return []
    changes = []
    if _logical_type(new) != _logical_type(old):
        changes.append(f"{where} changes its logical type from {_described(old)} to {_described(new)}")
    if isinstance(new, dict) and isinstance(old, dict):
        for inner in ("items", "values", "type"):
            if isinstance(new.get(inner), dict | list) and isinstance(old.get(inner), dict | list):
                changes += logical_type_changes(new[inner], old[inner], where)
        was = {field["name"]: field for field in old.get("fields", [])}
        for field in new.get("fields", []):
            aliases = field.get("aliases")
            names = (field["name"], *(aliases if isinstance(aliases, list) else []))
            before = next((was[name] for name in names if isinstance(name, str) and name in was), None)
            if before is not None:
                changes += logical_type_changes(field["type"], before["type"], f"field {field['name']}")
    return changes


def _kind(schema: Any) -> tuple[Any, Any]:
    if not isinstance(schema, dict):
        return schema, None
    kind = schema.get("type")
    if not isinstance(kind, str):
        return "nested", None
    # A namespace may be part of the name or a key of its own.
    return kind, str(schema["name"]).rpartition(".")[2] if "name" in schema else None


def _logical_type(schema: Any) -> tuple[Any, ...]:
    return tuple(schema.get(key) for key in _LOGICAL_KEYS) if isinstance(schema, dict) else (None,) * len(_LOGICAL_KEYS)


def _described(schema: Any) -> str:
    return " ".join(str(part) for part in _logical_type(schema) if part is not None) or "none"


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def unsound_fields(schema: Schema) -> list[str]:
    """Reports each record field inside ``schema`` with an invalid name, or a default that does not fit its type."""
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
        # The first branch: newer releases of Avro accept any, older ones, which may read our topics, only this one.
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
    """In JSON, bytes are a string of the code points 0–255."""
    return isinstance(value, str) and all(ord(character) <= 255 for character in value)
