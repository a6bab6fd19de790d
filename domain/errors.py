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


class TooManyLegs(DomainError):
    """The rider has as many open legs as a rider may have."""

    code = "too_many_legs"


class UnknownRider(DomainError):
    """The log has no event of this rider."""

    code = "unknown_rider"


class StatementAlreadyClosed(DomainError):
    """The period of this currency, or a later one, is closed. The message names the last closed one."""

    code = "statement_closed"


class StatementPeriodOpen(DomainError):
    """The period has not ended, so its statement cannot be closed."""

    code = "period_open"


class UnknownDelivery(DomainError):
    """No order with this id was placed."""

    code = "unknown_delivery"


class DeliveryExists(DomainError):
    """The order was placed with other content."""

    code = "delivery_exists"


class WrongStatus(DomainError):
    """The delivery's status does not allow the command. The message names the present status."""

    code = "wrong_status"


class OtherRider(DomainError):
    """The delivery is assigned to another rider, who has to be unassigned first."""

    code = "other_rider"


class IdempotencyConflict(DomainError):
    """The Idempotency-Key was used for another command of this order or rider."""

    code = "idempotency_conflict"


class UnreadableDelivery(DomainError):
    """A recorded event of the delivery cannot be decoded, so its status is unknown and no command is decided on it."""

    code = "unreadable_delivery"


class InvalidOrderId(DomainError):
    code = "invalid_order_id"


class InvalidTimeZone(DomainError):
    """The time zone is not a name of the IANA database."""

    code = "invalid_time_zone"


class InvalidCurrency(DomainError):
    """The currency is not an active code of ISO 4217."""

    code = "invalid_currency"


class InvalidVerdict(DomainError):
    """The verdict is not one that a review can have."""

    code = "invalid_verdict"


class InvalidPeriod(DomainError):
    """The period is not an ISO week."""

    code = "invalid_period"


class OutOfRange(DomainError):
    """A number is negative, or larger than any real one."""

    code = "out_of_range"


class OrderWithoutEnd(DomainError):
    """An order of a history that is neither completed nor cancelled: it would stay open for ever."""

    code = "no_end"


class StepsContradict(DomainError):
    """The times of an order of a history cannot be those of one order's life."""

    code = "steps_contradict"
