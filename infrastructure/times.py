"""Times as people and programs give them."""

from __future__ import annotations

from domain.gps_ping import parse_instant

LAST_MS = 253_402_300_799_999
"""The end of the year 9999: what datetime can hold."""


def time_ms(text: str) -> int:
    """Epoch milliseconds, or RFC 3339 with zone; ValueError that says what is wrong."""
    try:
        ms = int(text) if text.lstrip("-").isascii() and text.lstrip("-").isdigit() else parse_instant(text)
    except OverflowError as error:
        raise ValueError(str(error)) from error
    if not 0 <= ms <= LAST_MS:
        raise ValueError(f"{ms} is not between 1970 and 9999")
    return ms
