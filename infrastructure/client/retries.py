"""When to send a request again: a ping is recorded once however often it is sent."""

from __future__ import annotations

import math

RETRIED = frozenset({408, 429, 502, 503, 504})
FIRST_S = 0.1
LONGEST_S = 5.0
LONGEST_ASKED_S = 30.0


def pause_s(attempt: int, retry_after: str | None, chance: float) -> float:
    """Seconds to wait after the failed ``attempt`` (from 0); ``chance`` in [0, 1) spreads clients that failed together.

    What the server asks for in Retry-After (seconds) is honoured up to LONGEST_ASKED_S; else the pause doubles
    from FIRST_S to LONGEST_S.
    """
    asked = asked_s(retry_after)
    if asked is not None:
        return asked + FIRST_S * chance
    return float(min(LONGEST_S, FIRST_S * 2 ** min(attempt, 16))) * (0.5 + 0.5 * chance)


def asked_s(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After header; None without one or in its other form, a date."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return min(LONGEST_ASKED_S, max(0.0, seconds)) if math.isfinite(seconds) else None
