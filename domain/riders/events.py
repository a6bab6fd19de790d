"""The events of one rider's stream, as their contracts in ``domain/events`` record them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from eventsourcing.domain import Aggregate

from domain.gps_ping import GpsPing, ping_of, record_of
from domain.identifiers import uuid5_text
from domain.origin import Origin
from domain.riders.leg import Leg, LegOutcome
from domain.riders.review import AlertReview, Verdict

if TYPE_CHECKING:
    from domain.riders.rider import Rider

RIDER_TOPIC = "domain.rider:Rider"
"""Stored in every snapshot of a rider, so it does not follow the module when that moves (test_stored_events)."""


class RiderEvent(Aggregate.Event):
    """A fact of the rider's stream. ``RECORD`` names its Avro contract in ``domain/events``."""

    RECORD: ClassVar[str]
    TOPIC: ClassVar[str] = f"{RIDER_TOPIC}.Event"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # The library requires an explicit topic of each event class if the aggregate has one.
        cls.TOPIC = f"{RIDER_TOPIC}.{cls.__name__}"
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
        return uuid5_text(self.originator_id, f"{self.RECORD}/{self.originator_version}")

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


class CausedRiderEvent(RiderEvent):
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


class RiderRegistered(CausedRiderEvent, Aggregate.Created):
    RECORD: ClassVar[str] = "RiderRegistered"

    @classmethod
    def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().arguments(data), "originator_topic": RIDER_TOPIC}


class PingRecorded(RiderEvent):
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


class ShiftStarted(CausedRiderEvent):
    RECORD: ClassVar[str] = "ShiftStarted"

    def apply(self, aggregate: Rider) -> None:
        aggregate.on_shift = True


class ShiftEnded(CausedRiderEvent):
    RECORD: ClassVar[str] = "ShiftEnded"

    def apply(self, aggregate: Rider) -> None:
        aggregate.on_shift = False


class LegStarted(CausedRiderEvent):
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


class LegEnded(CausedRiderEvent):
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


class AlertReviewed(CausedRiderEvent):
    """A person has decided on an alert. Nothing follows from it by itself."""

    RECORD: ClassVar[str] = "AlertReviewed"
    ORIGIN_FIELDS: ClassVar[tuple[str, ...]] = Origin._fields
    review: AlertReview

    def apply(self, aggregate: Rider) -> None:
        aggregate.note_review(self.review, self.origin)

    def data(self) -> dict[str, Any]:
        return {**super().data(), **self.review._asdict(), "verdict": self.review.verdict.value}

    @classmethod
    def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        review = AlertReview(data["alert_id"], Verdict(data["verdict"]), data["by"], data["why"])
        return {**super().arguments(data), "review": review}


class StatementClosed(CausedRiderEvent):
    """The rider's statements in one currency are closed up to a period: what is folded after goes to a later one."""

    RECORD: ClassVar[str] = "StatementClosed"
    ORIGIN_FIELDS: ClassVar[tuple[str, ...]] = Origin._fields
    period: str
    currency: str
    by: str

    def apply(self, aggregate: Rider) -> None:
        aggregate.note_closing(self.currency, self.period, self.origin)

    def data(self) -> dict[str, Any]:
        return {**super().data(), "period": self.period, "currency": self.currency, "by": self.by}

    @classmethod
    def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().arguments(data), **{name: data[name] for name in ("period", "currency", "by")}}
