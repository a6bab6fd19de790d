"""Whether a reader with a new schema reads what an old one wrote: what the registry asks of a new version."""

from __future__ import annotations

import json

import avro.errors
import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from infrastructure.registry.aliases import ambiguous_aliases
from infrastructure.registry.logical_types import logical_type_changes
from infrastructure.registry.soundness import unsound_fields


class InvalidSchema(ValueError):
    """A text that is no Avro schema, or one with a field that Avro forbids."""


def parse(schema: str) -> avro.schema.Schema:
    """Raises InvalidSchema."""
    try:
        # Half a surrogate pair passes as JSON, and is no text that any client or database can keep.
        schema.encode()
        parsed = avro.schema.parse(schema, validate_names=True)
        problems = unsound_fields(parsed)
    except (avro.errors.AvroException, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise InvalidSchema(str(error) or repr(error)) from error
    if problems:
        raise InvalidSchema("; ".join(problems))
    return parsed


def backward_problems(new: str, old: str) -> list[str]:
    """In words, why a reader of ``new`` cannot read all that was written under ``old``; empty = it can.

    Raises InvalidSchema.
    """
    reader, writer = parse(new), parse(old)
    try:
        result = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)
        changes = [*logical_type_changes(json.loads(new), json.loads(old)), *ambiguous_aliases(reader, writer)]
    except RecursionError as error:
        raise InvalidSchema("nested too deeply to be compared") from error
    problems: list[str] = []
    if result.compatibility is not SchemaCompatibilityType.compatible:
        kinds = sorted({kind.value for kind in result.incompatibilities})
        words = "; ".join(sorted(result.messages))
        problems.append(f"{', '.join(kinds)} at {', '.join(sorted(result.locations))}: {words}")
    return problems + changes
