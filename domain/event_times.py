"""The rules for the time that a client gives to an event: of a ping, and of each step of a delivery."""

from __future__ import annotations

from domain.errors import GpsWeekRollover, TimestampInFuture, TimestampTooOld

OLDEST_MS = 946_684_800_000
"""2000-01-01T00:00:00Z. A phone that reports an earlier time has lost its clock."""

GPS_ROLLOVER_MS = 1024 * 7 * 24 * 3_600_000
"""GPS counts weeks modulo 1,024. A receiver with old firmware is late by a multiple of these 19.6 years."""

GPS_ROLLOVER_TOLERANCE_MS = 3_600_000
"""Distance from an exact multiple within which an instant is a roll-over: a phone uploads within the hour."""

FUTURE_TOLERANCE_MS = 5 * 60 * 1000
"""How far a client's clock may be ahead of the server's. More would let a phone pin its window to the future."""

SHORTEST_ROLLOVER_MS = GPS_ROLLOVER_MS - GPS_ROLLOVER_TOLERANCE_MS - 1
"""No event that is younger than this is a roll-over."""


def check_event_time(name: str, event_ms: int, received_ms: int) -> None:
    """Check the event time ``event_ms`` of the field ``name``, received at ``received_ms`` (epoch milliseconds).

    Raises:
        TimestampTooOld: it is before 2000.
        GpsWeekRollover: it is a multiple of 1,024 weeks before reception, give or take an hour.
        TimestampInFuture: it is more than 5 minutes after reception.
    """
    if event_ms < OLDEST_MS:
        raise TimestampTooOld(f"{name} is before 2000-01-01")
    if event_ms < received_ms - SHORTEST_ROLLOVER_MS and _is_rollover(received_ms - event_ms):
        raise GpsWeekRollover(f"{name} is a multiple of 1,024 weeks before reception: a GPS week roll-over")
    if event_ms > received_ms + FUTURE_TOLERANCE_MS:
        raise TimestampInFuture(f"{name} is more than 5 minutes after reception")


def _is_rollover(age_ms: int) -> bool:
    """Whether an age of at least half of 1,024 weeks is a multiple of them, within the tolerance."""
    past_ms = age_ms % GPS_ROLLOVER_MS
    return min(past_ms, GPS_ROLLOVER_MS - past_ms) <= GPS_ROLLOVER_TOLERANCE_MS
