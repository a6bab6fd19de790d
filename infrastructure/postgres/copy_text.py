"""Rows in Postgres' text COPY format: https://www.postgresql.org/docs/current/sql-copy.html, "Text Format". Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from io import StringIO
from typing import Any

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v"})


def copy_text(rows: Iterable[Sequence[Any]]) -> StringIO:
    """One line a row. Raises TypeError for a value that is no None, bool, int, float, str, bytes or datetime."""
    return StringIO("".join(["\t".join([_field(value) for value in row]) + "\n" for row in rows]))


def _field(value: Any) -> str:
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    if isinstance(value, bytes):
        return f"\\\\x{value.hex()}"
    if value is None:
        return "\\N"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} cannot be copied: {value!r}")
