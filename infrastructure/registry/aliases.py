"""Aliases of fields that meet more than one field: each library then takes another of them, and some none."""

from __future__ import annotations

from collections.abc import Iterator

from avro.schema import ArraySchema, Field, MapSchema, RecordSchema, Schema, UnionSchema


def ambiguous_aliases(reader: Schema, writer: Schema) -> list[str]:
    """In words, each field of a record that a reader of ``reader`` could take from, or share with, two others."""
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
