"""One log of Ridelog, recorded through the applications of its command side under the clocks of a history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid5

from sqlalchemy import text

from benchmarks.leakage.history import ROW_MS, START_MS, Event, Feature, Kind, Trap
from domain.deliveries.application import Deliveries
from domain.deliveries.commands import Assign, Complete, DeliveryCommand, PickUp, PlaceOrder, Unassign
from domain.deliveries.values import Coordinates
from domain.gps_ping import parse_ping
from domain.riders.application import Riders
from domain.riders.command_service import RiderCommands
from domain.riders.commands import ReviewAlert
from infrastructure.backends import Backends
from infrastructure.embedded.postgres import Postgres
from infrastructure.event_store.aggregates import EventStoreFactory, SnapshotRecorder
from infrastructure.event_store.log_reader import PostgresHistory
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.settings.postgres_url import sqlalchemy_url
from infrastructure.settings.settings import Settings
from tests.support.servers.servers import fresh_database, make_template, running

METRES_A_DEGREE = 6_371_008.8 * 3.141592653589793 / 180
LATITUDE = 10.0
"""The latitude of value 0. A measurement is the latitude of a ping: one degree a unit, or a metre for a total."""

ROUGH_M = 80.0
FINE_M = 5.0
"""Accuracy of the pings that definition 2 leaves out, and of the others, in metres."""

_NAMES = UUID("6f1f3d0a-5a52-5f86-9a7f-3a0c7f3f5b11")
_PARTITION_ROWS = 10_000_000
_FIRST_PARTITION = "events_p00000000000000000001"


class Databases(Protocol):
    """Databases of the one server, migrated. Each is dropped at the end."""

    def create(self) -> str:
        """The URL of a new one."""
        ...

    def copy(self, url: str) -> str:
        """The URL of a copy. Nothing may be connected to the original."""
        ...


class EmbeddedDatabases:
    """Implements ``Databases`` on an embedded PostgreSQL that runs."""

    def __init__(self, server: Postgres) -> None:
        make_template(server)
        self._server = server
        self._open: list[Any] = []

    def create(self) -> str:
        return self._entered(fresh_database(self._server))

    def copy(self, url: str) -> str:
        return self._entered(fresh_database(self._server, str(sqlalchemy_url(url).database)))

    def close(self) -> None:
        while self._open:
            self._open.pop().__exit__(None, None, None)

    def _entered(self, database: Any) -> str:
        url: str = database.__enter__()
        self._open.append(database)
        return url


@contextmanager
def embedded_databases(folder: Path) -> Iterator[EmbeddedDatabases]:
    """Databases on a PostgreSQL of their own, which is started here and stopped at the end."""
    with running(Postgres(folder)) as server:
        databases = EmbeddedDatabases(server)
        try:
            yield databases
        finally:
            databases.close()


def event_id(entity: str, name: str) -> str:
    return str(uuid5(_NAMES, f"{entity}/{name}"))


def alert_id(entity: str) -> str:
    """The alert whose verdict is the label of ``entity``."""
    return event_id(entity, "alert")


class RecordedLog:
    """A log under a trap's clocks. ``positions[n]`` is the head's position after the first n events.

    Measurements are pings of riders, facts the riders of orders, labels the reviews of alerts.
    """

    def __init__(self, url: str, trap: Trap, detached_after: int | None) -> None:
        """``detached_after``: the first so many positions become a partition of their own."""
        self.backends = Backends(Settings(postgres_url=url, feature_ttl_ms=trap.ttl_ms or 7_200_000))
        self.positions = [0]
        self._trap = trap
        self._clock_ms = 0
        self._latitudes = _latitudes(trap)
        self._orders: set[str] = set()
        writer = self.backends.writer_engine
        recorder = EventRecorder(
            writer, partition_rows=detached_after or _PARTITION_ROWS, clock=lambda: START_MS + self._clock_ms
        )
        factory = EventStoreFactory(recorder, SnapshotRecorder(writer), self.backends.codec)
        self._riders = Riders(factory, PostgresHistory(self.backends.engine))
        self._deliveries = Deliveries(self._riders)
        self._commands = RiderCommands(self._riders)

    def record(self, event: Event) -> None:
        """Record an event as the API does: received at its stamp, committed at the reading of the clock."""
        self._clock_ms = event.clock_ms
        match self._trap.kind:
            case Kind.MEASUREMENT:
                self._record_ping(event)
            case Kind.FACT:
                self._record_rider_of_order(event)
            case Kind.LABEL:
                self._record_review(event)
            case Kind.OUTCOME:
                self._record_hand_over(event)
        self.positions.append(self.backends.log.head("Rider").position)

    def detach(self) -> None:
        """Detach the first partition, as an operator does."""
        with self.backends.writer_engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE events DETACH PARTITION {_FIRST_PARTITION}"))

    def close(self) -> None:
        self.backends.close()

    def value_of(self, latitude: float) -> float:
        """The value that a ping at ``latitude`` has."""
        return latitude - LATITUDE

    def _record_ping(self, event: Event) -> None:
        item = {
            "rider_id": event.entity,
            "latitude": self._latitudes[event.entity, event.name],
            "longitude": 10.0,
            "event_timestamp_ms": START_MS + event.event_ms,
            "accuracy_meters": ROUGH_M if event.rough else FINE_M,
            "event_id": event_id(event.entity, event.name),
        }
        (outcome,) = self._riders.record_pings([parse_ping(item, START_MS + event.created_ms)])
        assert outcome.rejection is None, outcome

    def _record_hand_over(self, event: Event) -> None:
        if not self._orders:
            for order in sorted({one.entity for one in self._trap.events}):
                self._pick_up(order)
            self._clock_ms = event.clock_ms
        when: dict[str, Any] = {"received_ms": START_MS + event.created_ms, "at_ms": START_MS + event.event_ms}
        self._execute([Complete(order_id=event.entity, **when)])

    def _pick_up(self, order: str) -> None:
        """Place, assign and pick up an order before the instant of the rows."""
        self._clock_ms = ROW_MS // 2
        when: dict[str, Any] = {"received_ms": START_MS + self._clock_ms}
        rider = f"rider-of-{order}"
        steps = [Assign(order_id=order, rider_id=rider, **when), PickUp(order_id=order, **when)]
        self._execute([_place(order, when), *steps])
        self._orders.add(order)

    def _record_rider_of_order(self, event: Event) -> None:
        when: dict[str, Any] = {"received_ms": START_MS + event.created_ms, "at_ms": START_MS + event.event_ms}
        order, commands = event.entity, list[DeliveryCommand]()
        if order in self._orders:
            commands.append(Unassign(order_id=order, **when))
        else:
            commands.append(_place(order, when))
            self._orders.add(order)
        self._execute([*commands, Assign(order_id=order, rider_id=rider_of(event.value), **when)])

    def _execute(self, commands: list[DeliveryCommand]) -> None:
        outcomes = self._deliveries.execute(commands)
        assert all(outcome.recorded for outcome in outcomes), outcomes

    def _record_review(self, event: Event) -> None:
        if event is self._trap.events[0]:
            self._riders.start_shift(event.entity, START_MS + event.event_ms)
        review = ReviewAlert(
            rider_id=event.entity,
            by="mara",
            received_ms=START_MS + event.created_ms,
            at_ms=START_MS + event.event_ms,
            alert_id=alert_id(event.entity),
            verdict="confirmed" if event.value else "cleared",
            why=event.name,
        )
        (outcome,) = self._commands.execute([review])
        assert outcome.recorded, outcome


def _place(order: str, when: dict[str, Any]) -> PlaceOrder:
    at = Coordinates(10.0, 10.0)
    return PlaceOrder(order_id=order, restaurant=at, customer=at, time_zone="Europe/Berlin", currency="EUR", **when)


def rider_of(value: float) -> str:
    """The rider who stands for a value of a fact."""
    return f"rider-{value:g}"


def _latitudes(trap: Trap) -> dict[tuple[str, str], float]:
    """The latitude of each ping, by entity and name. For a total, each ping is its value further north, in metres."""
    if not any(ask.feature is Feature.TOTAL for ask in trap.asks):
        return {(event.entity, event.name): LATITUDE + event.value for event in trap.events}
    found: dict[tuple[str, str], float] = {}
    walked: dict[str, float] = {}
    for event in sorted(trap.events, key=lambda one: one.event_ms):
        walked[event.entity] = walked.get(event.entity, 0.0) + event.value
        found[event.entity, event.name] = LATITUDE + walked[event.entity] / METRES_A_DEGREE
    return found


def body_values(body: bytes) -> dict[str, Any]:
    """The values of a served answer."""
    found: dict[str, Any] = json.loads(body)
    return found
