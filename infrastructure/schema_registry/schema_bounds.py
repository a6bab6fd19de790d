"""Checks the size of a schema before an Avro library parses it: the cost grows faster than the text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from infrastructure.schema_registry.compatibility import InvalidSchema

MAX_SCHEMA_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 1_000
"""Fields of all records of a schema. Two schemas of 1,000 fields that all differ are compared in about a second."""

MAX_NAMED_TYPES: Final = 200
MAX_UNION_BRANCHES: Final = 100
"""Every branch is compared with every branch of the other schema."""

MAX_SYMBOLS: Final = 2_000
MAX_ALIASES: Final = 16
"""Aliases of one field or type."""

MAX_NAME_CHARS: Final = 255
MAX_DEPTH: Final = 100
"""Nested JSON arrays and objects: a nested type takes two or three. Also bounds defaults and properties."""

_NAMED: Final = {"record", "error", "enum", "fixed"}


class SchemaTooLarge(InvalidSchema):
    """The schema exceeds a bound of this registry. The message names the bound."""


def check_bounds(schema: str) -> None:
    """Checks all bounds. Raises SchemaTooLarge, or InvalidSchema for a text that is not JSON."""
    # A lone surrogate counts as three bytes here; the parser rejects it.
    _at_most("bytes", len(schema.encode("utf-8", "surrogatepass")), MAX_SCHEMA_BYTES)
    try:
        value = json.loads(schema)
    except RecursionError as error:
        raise SchemaTooLarge(f"it is nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:
        raise InvalidSchema(str(error)) from error
    counts = {"fields": 0, "named types": 0, "symbols": 0}
    for one in _objects({"type": value}):
        counts["fields"] += _length(one.get("fields"))
        counts["symbols"] += _length(one.get("symbols"))
        kind = one.get("type")
        counts["named types"] += isinstance(kind, str) and kind in _NAMED
        for union in (kind, one.get("items"), one.get("values")):
            _at_most("branches of a union", _length(union), MAX_UNION_BRANCHES)
        _at_most("aliases of one field or type", _length(one.get("aliases")), MAX_ALIASES)
        for name in _names(one):
            _at_most("characters in a name", len(name), MAX_NAME_CHARS)
    for what, most in (("fields", MAX_FIELDS), ("named types", MAX_NAMED_TYPES), ("symbols", MAX_SYMBOLS)):
        _at_most(what, counts[what], most)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yields every JSON object inside ``value``, including itself. Raises SchemaTooLarge past MAX_DEPTH."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [one for one in level if isinstance(one, dict | list)]
        if not level:
            return
        yield from (one for one in level if isinstance(one, dict))
        level = [part for one in level for part in (one.values() if isinstance(one, dict) else one)]
    raise SchemaTooLarge(f"it is nested deeper than {MAX_DEPTH} levels")


def _names(one: dict[str, Any]) -> Iterator[str]:
    found = [one.get("name"), one.get("namespace")]
    for more in (one.get("aliases"), one.get("symbols")):
        found += more if isinstance(more, list) else []
    return (name for name in found if isinstance(name, str))


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def _at_most(what: str, count: int, most: int) -> None:
    if count > most:
        raise SchemaTooLarge(f"it has {count:,} {what}; this registry takes {most:,}")
