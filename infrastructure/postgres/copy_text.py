"""Formats rows for Postgres' text COPY. Pure.

Format: https://www.postgresql.org/docs/current/sql-copy.html, "Text Format".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from io import BytesIO
from typing import Any

from projections.core.ports import SinkRejected

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v"})
_to_escape = re.compile(r"[\\\x08-\x0d]").search


def copy_text(rows: Sequence[Sequence[Any]]) -> BytesIO:
    """Formats one line a row, in UTF-8, for ``COPY … (ENCODING 'UTF8')``.

    Raises SinkRejected for rows of different lengths, and for a value that is not None, bool, int, float, Decimal, str,
    bytes or datetime with a zone. An event caused such a value, and its key must not stop the others (invariant 10).
    """
    try:
        columns = [_column(values) for values in zip(*rows, strict=True)]
        return BytesIO("".join(["\t".join(line) + "\n" for line in zip(*columns, strict=True)]).encode())
    except ValueError as error:  # also text that is not Unicode, such as a lone surrogate
        raise SinkRejected(f"cannot be copied: {error}") from error


def _column(values: Sequence[Any]) -> Iterable[str]:
    # By column, since most columns have one type: choosing a format for each value costs twice as much.
    kinds = set(map(type, values))
    if len(kinds) == 1:
        return map(_text_of(kinds.pop()), values)
    texts = {kind: _text_of(kind) for kind in kinds}
    return [texts[type(value)](value) for value in values]


def _text_of(kind: type) -> Callable[[Any], str]:
    for base in kind.__mro__:
        if base in _TEXTS:
            return _TEXTS[base]
    raise ValueError(f"a {kind.__name__}")


def _escaped(value: str) -> str:
    return value.translate(_ESCAPES) if _to_escape(value) else value


def _instant(value: datetime) -> str:
    # Only UTC is cached: in a zone with summer time, two instants an hour apart are equal cache keys.
    if value.tzinfo is UTC:
        return _utc_instant(value)
    if value.utcoffset() is None:
        # Postgres would read it as a time in the zone of the session.
        raise ValueError(f"a datetime without zone: {value.isoformat()}")
    return value.isoformat()


_utc_instant = lru_cache(maxsize=4096)(datetime.isoformat)

_TEXTS: dict[type, Callable[[Any], str]] = {
    type(None): lambda value: "\\N",
    bool: str,
    int: int.__repr__,
    float: float.__repr__,
    Decimal: str,
    str: _escaped,
    bytes: lambda value: f"\\\\x{value.hex()}",
    datetime: _instant,
}
