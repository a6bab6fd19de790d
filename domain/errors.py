"""Named errors of the domain. ``code`` is part of the HTTP contract and never changes its meaning."""

from __future__ import annotations

from typing import ClassVar


class DomainError(Exception):
    """A command was rejected and nothing was recorded for it. The message may be shown to the client."""

    code: ClassVar[str] = "domain_error"


class PingRejected(DomainError):
    """A ping was not recorded. Each subclass is one rejection code of ``POST /pings``."""


class InvalidType(PingRejected):
    code = "invalid_type"


class InvalidRiderId(PingRejected):
    code = "invalid_rider_id"


class InvalidCoordinates(PingRejected):
    code = "invalid_coordinates"


class NullIsland(PingRejected):
    code = "null_island"


class TimestampTooOld(PingRejected):
    code = "timestamp_too_old"


class GpsWeekRollover(PingRejected):
    code = "gps_week_rollover"


class TimestampInFuture(PingRejected):
    code = "timestamp_in_future"


class InvalidAccuracy(PingRejected):
    code = "invalid_accuracy"


class EventIdConflict(PingRejected):
    code = "event_id_conflict"


class ShiftAlreadyStarted(DomainError):
    code = "shift_already_started"


class ShiftNotStarted(DomainError):
    code = "shift_not_started"


class LegAlreadyStarted(DomainError):
    code = "leg_already_started"


class LegNotStarted(DomainError):
    code = "leg_not_started"
