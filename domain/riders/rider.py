"""The Rider aggregate: the events of one rider's stream, and the rules by which its commands are rejected."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Self
from uuid import UUID, uuid5

from eventsourcing.domain import Aggregate

from domain.errors import (
    EventIdConflict,
    LegAlreadyStarted,
    LegNotStarted,
    ShiftAlreadyStarted,
    ShiftNotStarted,
)
from domain.gps_ping import GpsPing, ping_of, record_of
from domain.identifiers import aggregate_id, check_rider_id
from domain.timestamps import utc_datetime

PingKey = tuple[int, str]
"""(event_timestamp_ms, event_id): the identity of a ping within its rider, and its order in the window."""


class Leg(NamedTuple):
    """One leg of a delivery that the rider is on, for example ``to_restaurant``; the target in WGS84 degrees."""

    order_id: str
    leg: str
    target_latitude: float
    target_longitude: float


UNKNOWN_LATEST_MS = 1 << 62
"""Later than any ping, so that may_have_recorded is always True."""


def instant(ms: int) -> datetime:
    return utc_datetime(ms)


class Rider(Aggregate):
    """One rider. Its state is only what commands need for their decisions; features are folds over the log."""

    AGGREGATE_TYPE: ClassVar[str] = "Rider"
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

    class Registered(Event, Aggregate.Created):
        RECORD: ClassVar[str] = "RiderRegistered"

        @classmethod
        def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
            return {"originator_topic": Rider.TOPIC}

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

    class ShiftStarted(Event):
        RECORD: ClassVar[str] = "ShiftStarted"

        def apply(self, aggregate: Rider) -> None:
            aggregate.on_shift = True

    class ShiftEnded(Event):
        RECORD: ClassVar[str] = "ShiftEnded"

        def apply(self, aggregate: Rider) -> None:
            aggregate.on_shift = False

    class LegStarted(Event):
        RECORD: ClassVar[str] = "LegStarted"
        leg: Leg

        def apply(self, aggregate: Rider) -> None:
            aggregate.current_leg = [self.leg.order_id, self.leg.leg]

        def data(self) -> dict[str, Any]:
            return {**super().data(), **self.leg._asdict()}

        @classmethod
        def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
            return {"leg": Leg(data["order_id"], data["leg"], data["target_latitude"], data["target_longitude"])}

    class LegEnded(Event):
        RECORD: ClassVar[str] = "LegEnded"
        order_id: str
        leg: str

        def apply(self, aggregate: Rider) -> None:
            aggregate.current_leg = None

        def data(self) -> dict[str, Any]:
            return {**super().data(), "order_id": self.order_id, "leg": self.leg}

        @classmethod
        def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
            return {"order_id": data["order_id"], "leg": data["leg"]}

    def __init__(self, rider_id: str) -> None:
        self.rider_id = rider_id
        self.pings = 0
        self.latest_ms = -1
        self.on_shift = False
        self.current_leg: list[str] | None = None

    @classmethod
    def register(cls, rider_id: str, at_ms: int) -> Self:
        """A new rider's stream, opened at ``at_ms`` (epoch milliseconds). Raises InvalidRiderId."""
        return cls._opened(check_rider_id(rider_id), at_ms)

    @classmethod
    def _opened(cls, rider_id: str, at_ms: int) -> Self:
        return cls._create(
            cls.Registered,
            id=aggregate_id(cls.AGGREGATE_TYPE, rider_id),
            rider_id=rider_id,
            event_timestamp_ms=at_ms,
            timestamp=instant(at_ms),
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
        self._happened(self.PingRecorded, ping.event_timestamp_ms, instant(ping.received_timestamp_ms), ping=ping)
        return True

    def start_shift(self, at_ms: int) -> None:
        if self.on_shift:
            raise ShiftAlreadyStarted(f"rider {self.rider_id} is on shift already")
        self._happened(self.ShiftStarted, at_ms)

    def end_shift(self, at_ms: int) -> None:
        if not self.on_shift:
            raise ShiftNotStarted(f"rider {self.rider_id} is not on shift")
        self._happened(self.ShiftEnded, at_ms)

    def start_leg(self, leg: Leg, at_ms: int) -> None:
        if self.current_leg is not None:
            raise LegAlreadyStarted(f"rider {self.rider_id} is on leg {self.current_leg} already")
        self._happened(self.LegStarted, at_ms, leg=leg)

    def end_leg(self, order_id: str, leg: str, at_ms: int) -> None:
        if self.current_leg != [order_id, leg]:
            raise LegNotStarted(f"rider {self.rider_id} is not on leg {leg} of order {order_id}")
        self._happened(self.LegEnded, at_ms, order_id=order_id, leg=leg)

    def _happened(self, event: type[Rider.Event], at_ms: int, timestamp: datetime | None = None, **facts: Any) -> None:
        self.trigger_event(
            event,
            rider_id=self.rider_id,
            event_timestamp_ms=at_ms,
            timestamp=timestamp or instant(at_ms),
            **facts,
        )


RIDER_EVENTS: dict[str, type[Rider.Event]] = {
    event.RECORD: event
    for event in (
        Rider.Registered,
        Rider.PingRecorded,
        Rider.ShiftStarted,
        Rider.ShiftEnded,
        Rider.LegStarted,
        Rider.LegEnded,
    )
}


def event_of(record: str, aggregate: UUID, version: int, data: Mapping[str, Any]) -> Rider.Event:
    """The event of a decoded record. Raises KeyError for a record that is not one of the rider's."""
    event_class: Any = RIDER_EVENTS[record]
    at_ms = data.get("received_timestamp_ms") or data["event_timestamp_ms"]
    event: Rider.Event = event_class(
        originator_id=aggregate,
        originator_version=version,
        timestamp=instant(at_ms),
        rider_id=data["rider_id"],
        event_timestamp_ms=data["event_timestamp_ms"],
        **event_class.arguments(data),
    )
    return event
