"""Settings in plain words: what a value must be, and what a setting is for."""

from __future__ import annotations

from typing import Any

from msgspec import inspect

HIDDEN = ("tokens", "_url", "_bootstrap")
"""Settings, by the end of their names, whose values no message may show: they may carry a password."""


def expected(kind: Any) -> str:
    """What a value of this annotated type must be: "a whole number from 0 to 65,535"."""
    info = inspect.type_info(kind)
    words = None
    if isinstance(info, inspect.Metadata):
        words = (info.extra or {}).get("expected")
        info = info.type
    if isinstance(info, inspect.UnionType):
        info = next(one for one in info.types if not isinstance(one, inspect.NoneType))
    if words is not None:
        return str(words)
    if isinstance(info, inspect.LiteralType):
        return f"one of {', '.join(map(str, info.values))}"
    if isinstance(info, inspect.IntType):
        return f"a whole number{_bounds(info.ge, info.le)}"
    if isinstance(info, inspect.CustomType):
        return "the path of a directory"
    return "text that is not empty" if isinstance(info, inspect.StrType) and info.min_length else "text"


def description(kind: Any) -> str:
    """What the setting of this annotated type is for."""
    info = inspect.type_info(kind)
    schema = (info.extra_json_schema or {}) if isinstance(info, inspect.Metadata) else {}
    return str(schema.get("description", ""))


def misfit(origin: str, name: str, value: object, kind: Any) -> str:
    """Why a value from ``origin`` cannot be that of the setting ``name``."""
    given = f'"{value}"' if isinstance(value, str) else str(value)
    fault = "does not fit" if name.endswith(HIDDEN) else f"is {given}"
    return f"{origin} {fault}: {expected(kind)} is expected"


def _bounds(least: int | None, most: int | None) -> str:
    if least is not None and most is not None:
        return f" from {least:,} to {most:,}"
    return f" of at least {least:,}" if least is not None else ""
