"""Instants as people, files and requests write them, and rules of time zones; ``domain.timestamps`` has the grammar."""

from __future__ import annotations

import os
import re
import sys
import time
from typing import Final

from domain.timestamps import MAX_TEXT_CHARACTERS, decimal_integer, rfc3339_ms

EARLIEST_MS: Final = -62_135_596_800_000
"""The first millisecond of the year 1: what datetime can hold; no event is older."""

LATEST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999: what datetime can hold."""

_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_AGO: Final = re.compile(r"([0-9]{1,15})([smhd])")


def use_packaged_time_zones() -> None:
    """Take the rules of time zones from the package tzdata, in this process and in those that it starts.

    An ETA has the local hour. If each machine used its own rules, an answer of one would differ where another one
    recomputes it (invariant 17).
    """
    os.environ["PYTHONTZPATH"] = ""
    if (zoneinfo := sys.modules.get("zoneinfo")) is not None:
        zoneinfo.reset_tzpath(())  # it has read the variable already


def now_ms() -> int:
    """This machine's clock, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def storable_ms(ms: int) -> int:
    """The instant nearest to ``ms`` that both Postgres and datetime can hold.

    No event has a time outside of that range. So every event is on the same side of both instants.
    """
    return max(EARLIEST_MS, min(ms, LATEST_MS))


def text_ms(text: str) -> int:
    """Epoch milliseconds of an integer (see ``decimal_integer``) or of an RFC 3339 time with zone.

    Raises:
        ValueError: the text is neither; the message says why.
    """
    if len(text) > MAX_TEXT_CHARACTERS:
        raise ValueError(f"longer than {MAX_TEXT_CHARACTERS} characters")
    number = decimal_integer(text)
    return rfc3339_ms(text) if number is None else number


def time_ms(text: str) -> int:
    """The same, for a query about the log.

    Raises:
        ValueError: the text is no time, or the time is not in the years 1970 to 9999.
    """
    ms = text_ms(text)
    if not 0 <= ms <= LATEST_MS:
        raise ValueError(f"{ms} is not between 1970 and 9999")
    return ms


def duration_ms(text: str) -> int:
    """Milliseconds of a duration such as ``90s``, ``5m``, ``1h`` or ``2d``.

    Raises:
        ValueError: the text is none.
    """
    match = _AGO.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 90s, 5m, 1h or 2d")
    return int(match[1]) * _UNITS_MS[match[2]]


def time_or_ago_ms(text: str, now_ms: int) -> int:
    """The same, or a duration such as ``90s``, ``5m``, ``1h`` or ``2d``: that long before ``now_ms``.

    Raises:
        ValueError: the text is neither.
    """
    return now_ms - duration_ms(text) if _AGO.fullmatch(text) else time_ms(text)
