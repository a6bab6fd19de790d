"""The Rider aggregate: the events of one rider's stream, and the rules by which its commands are rejected."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Self
from uuid import uuid5

from eventsourcing.domain import Aggregate

from domain.errors import (
    EventIdConflict,
    LegAlreadyStarted,
    LegNotStarted,
    ShiftAlreadyStarted,
    ShiftNotStarted,
    TooManyLegs,
)
from domain.gps_ping import GpsPing, ping_of, record_of
from domain.identifiers import aggregate_id, check_rider_id
from domain.origin import UNKNOWN_ORIGIN, Origin
from domain.riders.leg import MAX_OPEN_LEGS, Leg, LegOutcome
from domain.timestamps import utc_datetime

PingKey = tuple[int, str]
"""(event_timestamp_ms, event_id): the identity of a ping within its rider, and its order in the window."""

UNKNOWN_LATEST_MS = 1 << 62
"""Later than any ping, so that may_have_recorded is always True."""


class Rider(Aggregate):
    """One rider. Its state is only what commands need for their decisions; features are folds over the log."""

    AGGREGATE_TYPE: ClassVar[str] = "Rider"
    KEY_FIELD: ClassVar[str] = "rider_id"
    # Version 2 has several open legs. A snapshot of version 1 is upcast when it is loaded.
    class_version: ClassVar[int] = 2
    # Stored in every snapshot of an aggregate, so it does not follow the module when that moves (test_stored_bytes).
    TOPIC: ClassVar[str] = "domain.rider:Rider"

    class Event(Aggregate.Event):
        """A fact of the rider's stream. ``RECORD`` names its Avro contract in ``domain/events``."""

        RECORD: ClassVar[str]
        TOPIC: ClassVar[str] = "domain.rider:Rider.Event"

        def __init_subclass__(cls, **kwargs: Any) -> None:
            # The library requires an explicit topic of each event class if the aggregate has one.
            cls.TOPIC = f"domain.rider:Rider.{cls.__name__}"
            super().__init_subclass__(**kwargs)

        def data(self) -> dict[str, Any]:
            """The event as its contract's record."""
            return {
                "rider_id": self.rider_id,
                "event_timestamp_ms": self.event_timestamp_ms,
                "event_id": self.event_id,
            }

        @classmethod
        def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
            """The constructor's own arguments from a decoded record, in addition to rider_id and event_timestamp_ms."""
            return {}

        rider_id: str
        event_timestamp_ms: int

        @property
        def event_id(self) -> str:
            return str(uuid5(self.originator_id, f"{self.RECORD}/{self.originator_version}"))

        @property
        def key(self) -> str:
            return self.rider_id

        @property
        def command_id(self) -> str:
            """Empty for a ping, which is its own command."""
            return ""

        @property
        def caused_by(self) -> str:
            return ""

    class CausedEvent(Event):
        """An event that names its command and its cause: every event but the ping."""

        ORIGIN_FIELDS: ClassVar[tuple[str, ...]] = ("command_id", "caused_by")
        origin: Origin

        def data(self) -> dict[str, Any]:
            return {**super().data(), **{name: getattr(self.origin, name) for name in self.ORIGIN_FIELDS}}

        @classmethod
        def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
            return {"origin": Origin.of(data)}

        @property
        def command_id(self) -> str:
            return self.origin.command_id

        @property
        def caused_by(self) -> str:
            return self.origin.caused_by

    class Registered(CausedEvent, Aggregate.Created):
        RECORD: ClassVar[str] = "RiderRegistered"

        @classmethod
        def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
            return {**super().arguments(data), "originator_topic": Rider.TOPIC}

    class PingRecorded(Event):
        RECORD: ClassVar[str] = "GpsPing"
        ping: GpsPing

        def apply(self, aggregate: Rider) -> None:
            aggregate.pings += 1
            aggregate.latest_ms = max(aggregate.latest_ms, self.ping.event_timestamp_ms)

        @property
        def event_id(self) -> str:
            return self.ping.event_id

        def data(self) -> dict[str, Any]:
            return record_of(self.ping)

        @classmethod
        def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
            return {"ping": ping_of(data)}

    class ShiftStarted(CausedEvent):
        RECORD: ClassVar[str] = "ShiftStarted"

        def apply(self, aggregate: Rider) -> None:
            aggregate.on_shift = True

    class ShiftEnded(CausedEvent):
        RECORD: ClassVar[str] = "ShiftEnded"

        def apply(self, aggregate: Rider) -> None:
            aggregate.on_shift = False

    class LegStarted(CausedEvent):
        RECORD: ClassVar[str] = "LegStarted"
        ORIGIN_FIELDS: ClassVar[tuple[str, ...]] = Origin._fields
        leg: Leg

        def apply(self, aggregate: Rider) -> None:
            aggregate.legs.append([self.leg.order_id, self.leg.leg])

        def data(self) -> dict[str, Any]:
            return {**super().data(), **self.leg._asdict()}

        @classmethod
        def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
            return {**super().arguments(data), "leg": Leg(**{name: data[name] for name in Leg._fields})}

    class LegEnded(CausedEvent):
        RECORD: ClassVar[str] = "LegEnded"
        ORIGIN_FIELDS: ClassVar[tuple[str, ...]] = Origin._fields
        order_id: str
        leg: str
        outcome: LegOutcome

        def apply(self, aggregate: Rider) -> None:
            aggregate.legs = [open_leg for open_leg in aggregate.legs if open_leg != [self.order_id, self.leg]]

        def data(self) -> dict[str, Any]:
            ended = {"order_id": self.order_id, "leg": self.leg, "outcome": self.outcome.value}
            return {**super().data(), **ended}

        @classmethod
        def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
            ended = {"order_id": data["order_id"], "leg": data["leg"], "outcome": LegOutcome(data["outcome"])}
            return {**super().arguments(data), **ended}

    def __init__(self, rider_id: str) -> None:
        self.rider_id = rider_id
        self.pings = 0
        self.latest_ms = -1
        self.on_shift = False
        self.legs: list[list[str]] = []
        """Order and leg of each open leg, in the order in which they were started. Lists, as snapshots store them."""

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """Change the state of a stored snapshot of version 1, which knew one leg, to version 2."""
        current_leg = state.pop("current_leg")
        state["legs"] = [] if current_leg is None else [current_leg]

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

    @property
    def _has_unreadable(self) -> bool:
        return self.latest_ms == UNKNOWN_LATEST_MS

    def _happened(self, event: type[Rider.Event], at_ms: int, timestamp: datetime | None = None, **facts: Any) -> None:
        self.trigger_event(
            event,
            rider_id=self.rider_id,
            event_timestamp_ms=at_ms,
            timestamp=timestamp or utc_datetime(at_ms),
            **facts,
        )


def _received(origin: Origin) -> datetime | None:
    return utc_datetime(origin.received_timestamp_ms) if origin.received_timestamp_ms else None
