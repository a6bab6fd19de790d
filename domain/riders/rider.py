"""The Rider aggregate: the events of one rider's stream, and the rules by which its commands are rejected."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Self

from eventsourcing.domain import Aggregate

from domain.errors import (
    EventIdConflict,
    IdempotencyConflict,
    LegAlreadyStarted,
    LegNotStarted,
    ShiftAlreadyStarted,
    ShiftNotStarted,
    StatementAlreadyClosed,
    StatementPeriodOpen,
    TooManyLegs,
)
from domain.features.event_time import effective_time_ms
from domain.gps_ping import GpsPing
from domain.identifiers import aggregate_id, check_rider_id
from domain.origin import UNKNOWN_ORIGIN, Origin, made_command_id
from domain.riders import events
from domain.riders.commands import CloseStatement, ReviewAlert, RiderCommand, content_digest
from domain.riders.events import RIDER_TOPIC, RiderEvent
from domain.riders.leg import MAX_OPEN_LEGS, Leg, LegOutcome
from domain.riders.periods import period_bounds_ms
from domain.riders.review import AlertReview
from domain.timestamps import utc_datetime

PingKey = tuple[int, str]
"""(event_timestamp_ms, event_id): the identity of a ping within its rider, and its order in the window."""

UNKNOWN_LATEST_MS = 1 << 62
"""Later than any ping, so that may_have_recorded is always True."""

MAX_KEPT = 100
"""How many reviews and how many keys a rider remembers (invariant 15). What is older is no longer a repeat, which the
description of the interface and the refusal of a closing say."""


class Rider(Aggregate):
    """One rider. Its state is only what commands need for their decisions; features are folds over the log."""

    AGGREGATE_TYPE: ClassVar[str] = "Rider"
    KEY_FIELD: ClassVar[str] = "rider_id"
    # Version 2 has several open legs, version 3 reviews and closed statements. Older snapshots are upcast when loaded.
    class_version: ClassVar[int] = 3
    TOPIC: ClassVar[str] = RIDER_TOPIC

    Event = RiderEvent
    Registered = events.RiderRegistered
    PingRecorded = events.PingRecorded
    ShiftStarted = events.ShiftStarted
    ShiftEnded = events.ShiftEnded
    LegStarted = events.LegStarted
    LegEnded = events.LegEnded
    AlertReviewed = events.AlertReviewed
    StatementClosed = events.StatementClosed

    def __init__(self, rider_id: str) -> None:
        self.rider_id = rider_id
        self.pings = 0
        self.latest_ms = -1
        self.on_shift = False
        self.legs: list[list[str]] = []
        """Order and leg of each open leg, in the order in which they were started. Lists, as snapshots store them."""
        self.reviews: list[list[str]] = []
        """Alert and content digest of the latest review of each alert; at most MAX_KEPT, the latest ones."""
        self.closed_through: dict[str, str] = {}
        """The last closed period by currency."""
        self.keys: list[list[str]] = []
        """Idempotency-Key and digest of each command that had one; at most MAX_KEPT, the latest ones."""

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """Change the state of a stored snapshot of version 1, which knew one leg, to version 2."""
        current_leg = state.pop("current_leg")
        state["legs"] = [] if current_leg is None else [current_leg]

    @staticmethod
    def upcast_v2_v3(state: dict[str, Any]) -> None:
        """Change the state of a stored snapshot of version 2, which knew no reviews and no statements, to version 3."""
        state |= {"reviews": [], "closed_through": {}, "keys": []}

    @classmethod
    def register(cls, rider_id: str, at_ms: int, origin: Origin = UNKNOWN_ORIGIN) -> Self:
        """A new rider's stream, opened at ``at_ms`` (epoch milliseconds). Raises InvalidRiderId."""
        return cls._opened(check_rider_id(rider_id), at_ms, origin)

    @classmethod
    def _opened(cls, rider_id: str, at_ms: int, origin: Origin = UNKNOWN_ORIGIN) -> Self:
        return cls._create(
            cls.Registered,
            id=aggregate_id(cls.AGGREGATE_TYPE, rider_id),
            rider_id=rider_id,
            event_timestamp_ms=at_ms,
            timestamp=utc_datetime(at_ms),
            origin=origin,
        )

    @classmethod
    def with_unreadable(cls, before: Rider | None, rider_id: str, version: int) -> Rider:
        """The rider after an event of ``version`` that cannot be decoded, so its content is unknown.

        From now on every ping is looked up in the log, since the unreadable event may be the latest ping.
        """
        rider = before
        if rider is None:
            # Unchecked: the log has this id, from a version that accepted more ids than this one does.
            rider = cls._opened(rider_id, 0)
            rider._pending_events.clear()
        rider.version = version
        rider.latest_ms = UNKNOWN_LATEST_MS
        return rider

    def may_have_recorded(self, ping: GpsPing) -> bool:
        """False only if ``ping`` is later than all recorded ones, so that no lookup in the log is needed."""
        return ping.event_timestamp_ms <= self.latest_ms

    def record_ping(self, ping: GpsPing, recorded: Mapping[PingKey, GpsPing | None]) -> bool:
        """Record ``ping`` unless it is recorded already. Returns whether it was new.

        ``recorded`` has every recorded ping with the identity of a ping that ``may_have_recorded`` is True for, so a
        ping sent again, however late, is recorded once (invariant 3). None stands for one that cannot be decoded.
        Raises EventIdConflict if the recorded ping has other content, or its content is unknown.
        """
        if self.may_have_recorded(ping):
            key = (ping.event_timestamp_ms, ping.event_id)
            if key in recorded:
                first = recorded[key]
                if first is not None and first.same_content(ping):
                    return False
                raise EventIdConflict("another ping with this event_id and time has other content")
        self._happened(self.PingRecorded, ping.event_timestamp_ms, utc_datetime(ping.received_timestamp_ms), ping=ping)
        return True

    def start_shift(self, at_ms: int, origin: Origin = UNKNOWN_ORIGIN) -> None:
        """Raises ShiftAlreadyStarted."""
        if self.on_shift:
            raise ShiftAlreadyStarted(f"rider {self.rider_id} is on shift already")
        self._happened(self.ShiftStarted, at_ms, origin=origin)

    def end_shift(self, at_ms: int, origin: Origin = UNKNOWN_ORIGIN) -> None:
        """Raises ShiftNotStarted."""
        if not self.on_shift:
            raise ShiftNotStarted(f"rider {self.rider_id} is not on shift")
        self._happened(self.ShiftEnded, at_ms, origin=origin)

    def check_leg_can_start(self, order_id: str, leg: str, *, ends: str | None = None) -> None:
        """Raises LegAlreadyStarted, or TooManyLegs if MAX_OPEN_LEGS are open; ``ends``: its leg that ends before."""
        # That leg makes no room if it is not known to be open: its start may be the event that cannot be decoded.
        if [order_id, leg] in self.legs and not self._has_unreadable:
            raise LegAlreadyStarted(f"rider {self.rider_id} is on leg {leg} of order {order_id} already")
        if len(self.legs) - ([order_id, ends] in self.legs) >= MAX_OPEN_LEGS:
            raise TooManyLegs(f"rider {self.rider_id} has {MAX_OPEN_LEGS} open legs already")

    def check_leg_can_end(self, order_id: str, leg: str) -> None:
        """Raises LegNotStarted."""
        # The start of this leg may be the event that cannot be decoded, and its order has to be able to end.
        if [order_id, leg] not in self.legs and not self._has_unreadable:
            raise LegNotStarted(f"rider {self.rider_id} is not on leg {leg} of order {order_id}")

    def start_leg(self, leg: Leg, at_ms: int, origin: Origin = UNKNOWN_ORIGIN) -> None:
        """Raises LegAlreadyStarted or TooManyLegs."""
        self.check_leg_can_start(leg.order_id, leg.leg)
        self._happened(self.LegStarted, at_ms, _received(origin), leg=leg, origin=origin)

    def end_leg(
        self, order_id: str, leg: str, at_ms: int, outcome: LegOutcome, origin: Origin = UNKNOWN_ORIGIN
    ) -> None:
        """End one leg, whichever others are open. Raises LegNotStarted."""
        self.check_leg_can_end(order_id, leg)
        ended = {"order_id": order_id, "leg": leg, "outcome": outcome}
        self._happened(self.LegEnded, at_ms, _received(origin), **ended, origin=origin)

    def review_alert(self, command: ReviewAlert) -> bool:
        """Record a review unless it is recorded already. Returns whether it was new.

        A repeat has the key of a recorded command, or says what the latest review of this alert says. Another verdict,
        person or reason is a new review: the latest one holds. Raises IdempotencyConflict.
        """
        review = command.review
        if self._has_key_of(command) or [review.alert_id, content_digest(review)] in self.reviews:
            return False
        self._commanded(self.AlertReviewed, command, review=review)
        return True

    def close_statement(self, command: CloseStatement) -> bool:
        """Close the statements of one currency up to a period. Returns whether it was new: False for a known key.

        Raises:
            StatementAlreadyClosed: this period of this currency, or a later one, is closed.
            StatementPeriodOpen: the period has not ended when the statement is closed.
            IdempotencyConflict: its key was used for another command.
        """
        if self._has_key_of(command):
            return False
        closed = self.closed_through.get(command.currency, "")
        if command.period <= closed:
            found = f"the statements of rider {self.rider_id} in {command.currency} are closed up to {closed}"
            if command.command_id is not None:
                found += f"; this Idempotency-Key is none of the rider's latest {MAX_KEPT}, which are known: if you "
                found += "repeat an older command, it has been recorded"
            raise StatementAlreadyClosed(found)
        # A client's clock that is ahead must not close a week that still runs.
        times = {"event_timestamp_ms": command.happened_ms, "received_timestamp_ms": command.received_ms}
        if effective_time_ms(times) < period_bounds_ms(command.period)[1]:
            raise StatementPeriodOpen(f"period {command.period} has not ended yet")
        facts = {"period": command.period, "currency": command.currency, "by": command.by}
        self._commanded(self.StatementClosed, command, **facts)
        return True

    def note_review(self, review: AlertReview, origin: Origin) -> None:
        """Keep a recorded review, for repeats. Called by its event alone."""
        others = [kept for kept in self.reviews if kept[0] != review.alert_id]
        self.reviews = [*others, [review.alert_id, content_digest(review)]][-MAX_KEPT:]
        self._note_key(origin)

    def note_closing(self, currency: str, period: str, origin: Origin) -> None:
        """Keep a recorded closing. Called by its event alone."""
        self.closed_through[currency] = period
        self._note_key(origin)

    def _note_key(self, origin: Origin) -> None:
        if origin.command_digest:
            self.keys = [*self.keys, [origin.command_id, origin.command_digest]][-MAX_KEPT:]

    def _has_key_of(self, command: RiderCommand) -> bool:
        """Whether the command is recorded under its key. Raises IdempotencyConflict if another one is."""
        digest = dict(self.keys).get(command.command_id) if command.command_id is not None else None
        if digest is not None and digest != command.digest():
            raise IdempotencyConflict(
                "this Idempotency-Key was used for another command of this rider: send this one with another key"
            )
        return digest is not None

    def _commanded(self, event: type[RiderEvent], command: RiderCommand, **facts: Any) -> None:
        origin = command.origin(made_command_id(self.id, self.version))
        self._happened(event, command.happened_ms, _received(origin), **facts, origin=origin)

    @property
    def _has_unreadable(self) -> bool:
        return self.latest_ms == UNKNOWN_LATEST_MS

    def _happened(self, event: type[RiderEvent], at_ms: int, timestamp: datetime | None = None, **facts: Any) -> None:
        self.trigger_event(
            event,
            rider_id=self.rider_id,
            event_timestamp_ms=at_ms,
            timestamp=timestamp or utc_datetime(at_ms),
            **facts,
        )


def _received(origin: Origin) -> datetime | None:
    return utc_datetime(origin.received_timestamp_ms) if origin.received_timestamp_ms else None
