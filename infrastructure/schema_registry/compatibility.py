"""Checks whether a new schema version may follow the older ones, by the compatibility level of its subject.

The level says which older versions are compared with the new one, and in which directions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import avro.errors
import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from infrastructure.schema_registry.avro_rules import ambiguous_aliases, logical_type_changes, unsound_fields


class InvalidSchema(ValueError):
    """The text is not an Avro schema, or has a field that Avro forbids."""


def parse(schema: str) -> avro.schema.Schema:
    """Parses an Avro schema. Raises InvalidSchema."""
    try:
        # A lone surrogate is accepted in JSON, but no client or database can store it.
        schema.encode()
        parsed = avro.schema.parse(schema, validate_names=True)
        problems = unsound_fields(parsed)
    except (avro.errors.AvroException, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise InvalidSchema(str(error) or repr(error)) from error
    if problems:
        raise InvalidSchema("; ".join(problems))
    return parsed


def backward_problems(new: str, old: str) -> list[str]:
    """Reports why a reader of ``new`` cannot read everything written under ``old``. Empty: it can.

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
        messages = "; ".join(sorted(result.messages))
        problems.append(f"{', '.join(kinds)} at {', '.join(sorted(result.locations))}: {messages}")
    return problems + changes


class Level(StrEnum):
    """BACKWARD: new readers read old data. FORWARD: old readers read new data. FULL: both.

    A new schema is compared with the latest version, at the TRANSITIVE levels with every version.
    """

    NONE = "NONE"
    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"

    @property
    def transitive(self) -> bool:
        return self.endswith("_TRANSITIVE")

    @property
    def backward(self) -> bool:
        return self.startswith(("BACKWARD", "FULL"))

    @property
    def forward(self) -> bool:
        return self.startswith(("FORWARD", "FULL"))


DEFAULT = Level.BACKWARD


class StoredSchema(NamedTuple):
    """A version that a new schema is compared with."""

    version: int
    schema: str


def level_problems(level: Level, new: str, known: Sequence[StoredSchema]) -> list[str]:
    """Reports why ``new`` may not follow ``known`` (oldest first) at ``level``. Empty: it may.

    Raises InvalidSchema.
    """
    against = known if level.transitive else known[-1:]
    return [
        *(
            f"version {old.version}: {problem}"
            for old in against
            if level.backward
            for problem in backward_problems(new, old.schema)
        ),
        *(
            f"version {old.version} as reader: {problem}"
            for old in against
            if level.forward
            for problem in backward_problems(old.schema, new)
        ),
    ]
