"""Checks whether the OpenAPI description covers an answer: its status, its media type and its schema."""

from __future__ import annotations

from typing import Any

import httpx

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def undescribed(description: dict[str, Any], method: str, template: str, answer: httpx.Response) -> list[str]:
    """The mismatches between an answer and the description, as messages; empty if there are none."""
    responses = description["paths"][template][method.lower()]["responses"]
    promised = responses.get(str(answer.status_code))
    if promised is None:
        return [f"status {answer.status_code} is not described, only {', '.join(responses)}"]
    media = answer.headers["content-type"].partition(";")[0]
    if media not in promised["content"]:
        return [f"{media} is not described, only {', '.join(promised['content'])}"]
    if media != "application/json":
        return []
    return misfits(answer.json(), promised["content"][media]["schema"], description["components"]["schemas"])


def misfits(value: Any, schema: dict[str, Any], named: dict[str, Any], where: str = "body") -> list[str]:
    """Check a value against a schema. Supports only the part of JSON Schema that our description uses."""
    if "$ref" in schema:
        return misfits(value, named[schema["$ref"].rpartition("/")[2]], named, where)
    for either in ("oneOf", "anyOf"):
        if either in schema:
            tried = [misfits(value, one, named, where) for one in schema[either]]
            return [] if [] in tried else tried[0]
    kinds = schema.get("type", list(_TYPES))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    fits = any(isinstance(value, _TYPES[kind]) for kind in kinds)
    if not fits or (isinstance(value, bool) and "boolean" not in kinds):
        return [f"{where} is {type(value).__name__}, described as {kinds}"]
    problems = []
    if isinstance(value, dict):
        problems += [f"{where}.{name} is missing" for name in schema.get("required", []) if name not in value]
        for name, one in value.items():
            more = schema.get("additionalProperties", {})
            inner = schema.get("properties", {}).get(name, more if isinstance(more, dict) else {})
            problems += misfits(one, inner, named, f"{where}.{name}")
    if isinstance(value, list):
        for number, one in enumerate(value):
            problems += misfits(one, schema.get("items", {}), named, f"{where}[{number}]")
    return problems
