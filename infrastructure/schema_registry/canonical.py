"""Canonical fingerprints: equal for all texts of one schema, so that one schema has one id."""

from __future__ import annotations

import hashlib
import json
from typing import Any

_NAMED = {"record", "error", "enum", "fixed"}


def fingerprint(schema: str) -> str:
    """Returns a SHA-256 that is equal for texts which differ only in layout, order of keys or shorthand.

    Unlike Avro's parsing canonical form it covers docs, defaults, aliases and logical types: clients expect them back.
    Raises ValueError for a text that is not JSON.
    """
    return hashlib.sha256(json.dumps(_shortest(json.loads(schema)), sort_keys=True).encode()).hexdigest()


def _shortest(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_shortest(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    if set(schema) == {"type"}:
        return _shortest(schema["type"])
    short = {**schema, "type": _shortest(schema.get("type"))}
    for inner in ("items", "values"):
        if inner in schema:
            short[inner] = _shortest(schema[inner])
    if isinstance(schema.get("fields"), list):
        short["fields"] = [_field(field) for field in schema["fields"]]
    name = schema.get("name")
    if schema.get("type") in _NAMED and isinstance(name, str) and "." in name:
        # A dotted name is the full name; a separate namespace is then ignored.
        short["namespace"], _, short["name"] = name.rpartition(".")
    return short


def _field(field: Any) -> Any:
    return {**field, "type": _shortest(field.get("type"))} if isinstance(field, dict) else field
