"""Changes of a logical type: Avro resolves the bytes and says nothing, and every value then means something else."""

from __future__ import annotations

from typing import Any

_MARKS = ("logicalType", "precision", "scale")


def logical_type_changes(new: Any, old: Any, where: str = "the schema") -> list[str]:
    """In words, each place of two schemas (parsed JSON) where the same type has another logical type."""
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
    if _mark(new) != _mark(old):
        changes.append(f"{where} changes its logical type from {_words(old)} to {_words(new)}")
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
    # A namespace may stand before the name or beside it.
    return kind, str(schema["name"]).rpartition(".")[2] if "name" in schema else None


def _mark(schema: Any) -> tuple[Any, ...]:
    return tuple(schema.get(mark) for mark in _MARKS) if isinstance(schema, dict) else (None,) * len(_MARKS)


def _words(schema: Any) -> str:
    return " ".join(str(mark) for mark in _mark(schema) if mark is not None) or "none"
