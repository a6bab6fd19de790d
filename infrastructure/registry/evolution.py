"""The rules for our own contracts, stricter than the registry's: none of them may cost a recorded value."""

from __future__ import annotations

import json
from typing import Any

from infrastructure.registry.compatibility import backward_problems


def contract_problems(new: str, old: str) -> list[str]:
    """In words, why ``new`` may not be released after ``old``; empty = it may. Raises InvalidSchema.

    A field may be added with a default, and removed if it had one (old readers then fall back to it). A rename, a
    change of type (a promotion too: readers of the old version could not follow) and another default (old frames would
    read differently on replay) are refused. Our contracts are flat records; a nested type changes as a whole.
    """
    was, now = _fields(old), _fields(new)
    gone = [field for name, field in was.items() if name not in now]
    came = [field for name, field in now.items() if name not in was]
    kept = [(field, now[name]) for name, field in was.items() if name in now]
    return [
        *backward_problems(new, old),
        *(f"field {field['name']} is required by old readers: it may not go" for field in gone if not _optional(field)),
        *(
            f"field {before['name']} seems to be renamed to {after['name']}, which loses its values: "
            "if it is no rename, release the removal first"
            for before in gone
            for after in came
            if _type(before) == _type(after) or before["name"] in after.get("aliases", [])
        ),
        *(f"field {after['name']} changes its type" for before, after in kept if _type(before) != _type(after)),
        *(
            f"field {after['name']} changes its default"
            for before, after in kept
            if _default(before) != _default(after)
        ),
    ]


def _fields(schema: str) -> dict[str, dict[str, Any]]:
    parsed = json.loads(schema)
    return {field["name"]: field for field in parsed["fields"]} if isinstance(parsed, dict) else {}


def _optional(field: dict[str, Any]) -> bool:
    return "default" in field


def _type(field: dict[str, Any]) -> str:
    return json.dumps(field["type"], sort_keys=True)


def _default(field: dict[str, Any]) -> str:
    return json.dumps(field["default"]) if _optional(field) else "none"
