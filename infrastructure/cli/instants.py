"""Instants as people write them on a command line."""

from __future__ import annotations

import re
from datetime import datetime

from infrastructure.cli.errors import UserError

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def instant_ms(text: str, now_ms: int) -> int:
    """Epoch milliseconds of "1790000000000", "2026-11-24T12:00:00Z", or "1h": so long before now. Raises UserError."""
    if re.fullmatch(r"\d+", text):
        return int(text)
    if ago := re.fullmatch(r"(\d+)([smhd])", text):
        return now_ms - int(ago[1]) * _UNITS_MS[ago[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UserError(f"{text!r} is no time: epoch milliseconds, RFC 3339 with zone, or a duration such as 1h")
    return round(moment.timestamp() * 1000)
