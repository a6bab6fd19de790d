"""One delivery on a real log, with all that follows from it: payouts, a late ping, an alert and ETAs on record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx
from litestar import Litestar
from sqlalchemy import insert, text

from domain.deliveries.commands import Assign, Complete, DeliveryCommand, PickUp, PlaceOrder
from domain.deliveries.values import Coordinates
from domain.features.case_file import SPOOFING, CaseFile, CaseFix, Signal, alert_id, case_bytes
from domain.gps_ping import parse_ping
from domain.identifiers import SHARDS, aggregate_id
from domain.timestamps import utc_datetime
from infrastructure.backends import Backends
from infrastructure.event_store.event_links import EventLinks
from infrastructure.http.errors import HANDLERS
from infrastructure.http.event_json import EventEncoder
from infrastructure.http.fraud_reader import FraudReader
from infrastructure.http.lineage import lineage_routes
from infrastructure.http.lineage_reader import LineageReads
from infrastructure.postgres.payout_reads import PayoutReads
from infrastructure.postgres.projection_sink import PostgresSink
from infrastructure.postgres.served_eta_links import ServedEtaLinks
from infrastructure.postgres.served_etas import add
from infrastructure.replay.ping_changes import PingChanges
from infrastructure.settings.settings import Settings
from projections.parity.served_etas import EtaPlace, ServedEta
from projections.payouts import PAYOUTS
from projections.rebuild.catch_up import CatchUp
from read_models.fraud.queries import CaseSource
from read_models.fraud.tables import fraud_alerts
from read_models.view import body_of
from tests.support.servers.http_server import served

START_MS: Final = 1_795_996_800_000
RIDER: Final = "anna"
ORDER: Final = "order-1"
KEY: Final = "assign-key-1"
RIDE_PINGS: Final = 30
STEP_MS: Final = 10_000
HELD_BACK: Final = 15
"""The number of the ping of the second ride that comes late. No other ping is in its ten seconds."""
LATENESS_MS: Final = 200_000
DEGREES_A_STEP: Final = 0.00045
"""50 m north in 10 s."""


class LinkedCity:
    """The delivery is recorded when the object is made. ``positions``: of the rider's pings, in the order of riding."""

    def __init__(self, backends: Backends) -> None:
        self.backends = backends
        self.now_ms = START_MS
        self.positions: list[int] = []
        self._north = 0
        self._held_back = (0, 0.0)
        backends.generations.first(PAYOUTS)
        place = Coordinates(52.5, 13.4)
        self.command(PlaceOrder, restaurant=place, customer=place, time_zone="Europe/Berlin", currency="EUR")
        self.command(Assign, rider_id=RIDER, command_id=KEY)
        self.ride(RIDE_PINGS)
        self.command(PickUp)
        self.ride(RIDE_PINGS, held_back=HELD_BACK)
        self.command(Complete)
        self.fold()

    def command(self, kind: type[DeliveryCommand], **fields: Any) -> None:
        self.now_ms += 1_000
        [outcome] = self.backends.deliveries.execute([kind(order_id=ORDER, received_ms=self.now_ms, **fields)])
        assert outcome.rejection is None, outcome

    def ride(self, pings: int, held_back: int | None = None) -> None:
        """Ride a ping every STEP_MS. The phone sends the ping number ``held_back`` later, with ``late_ping``."""
        for number in range(pings):
            self.now_ms += STEP_MS
            self._north += 1
            if number == held_back:
                self._held_back = self.now_ms, 52.5 + (self._north + 6) * DEGREES_A_STEP
            else:
                self.positions.append(self.ping(self.now_ms, self.now_ms + 250, 52.5 + self._north * DEGREES_A_STEP))

    def ping(self, sent_ms: int, received_ms: int, latitude: float) -> int:
        """Record a ping. Returns its position."""
        item = {
            "rider_id": RIDER,
            "latitude": latitude,
            "longitude": 13.4,
            "event_timestamp_ms": sent_ms,
            "accuracy_meters": 5.0,
        }
        [outcome] = self.backends.riders.record_pings([parse_ping(item, received_ms)])
        assert outcome.position is not None
        return outcome.position

    def late_ping(self) -> int:
        """The ping that was held back, from 300 m off the way, comes after the hand-over. Returns its position."""
        sent_ms, latitude = self._held_back
        self.now_ms = sent_ms + LATENESS_MS
        position = self.ping(sent_ms, self.now_ms, latitude)
        self.fold()
        return position

    def fold(self) -> None:
        """Fold the payouts up to the head of the log."""
        sink = PostgresSink(self.backends.sink_engine, PAYOUTS, 1)
        CatchUp(PAYOUTS, self.backends.log, sink, self.backends.decode, range(SHARDS)).run()

    def events(self, stream: str, key: str) -> list[dict[str, Any]]:
        """The position, type and id of each event of a key, in order."""
        query = text(
            "SELECT position, event_type AS type, event_id::text AS id FROM events WHERE aggregate_id = :a ORDER BY 1"
        )
        with self.backends.engine.connect() as connection:
            rows = connection.execute(query, {"a": aggregate_id(stream, key)})
            return [dict(row._mapping) for row in rows]

    def id_at(self, position: int) -> str:
        return str(next(each["id"] for each in self.events("Rider", RIDER) if each["position"] == position))

    def raise_alert(self, position: int) -> str:
        """An alert whose evidence and window is one ping, as the fold would store it. Returns its id."""
        event_id = self.id_at(position)
        fix = CaseFix(event_id, START_MS, START_MS + 250, position, 52.5, 13.4, 5.0, None, True)
        signals = (Signal("mock_flag", (("fixes", 1),), (event_id,)),)
        made = alert_id(SPOOFING, RIDER, event_id)
        case = CaseFile(made, RIDER, SPOOFING, 1, START_MS, position, position, 80, signals, (fix,), ORDER, None)
        row = {
            "generation": 1,
            "alert_id": made,
            "shard": 0,
            "rider_id": RIDER,
            "raised_at": utc_datetime(START_MS),
            "latest_at": utc_datetime(START_MS),
            "score": 80,
            "signals": "mock_flag",
            "order_id": ORDER,
            "leg": None,
            "position": position,
            "raised_position": position,
            "fold_version": 1,
            "file": case_bytes(case),
        }
        generation = (
            "INSERT INTO projection_generations (projection, generation, fold_version, fold_digest, active, state)"
            " VALUES ('spoofing', 1, 1, '', true, 'following') ON CONFLICT DO NOTHING"
        )
        with self.backends.engine.begin() as connection:
            connection.execute(text(generation))
            connection.execute(insert(fraud_alerts), [row])
        return made

    def serve_eta(self, order_position: int, rider_position: int, p50_seconds: float, **features: Any) -> int:
        """Put an answer on record. Returns its id."""
        self.now_ms += 10
        at_ms = self.now_ms
        values = {
            "order_id": ORDER,
            "eta_seconds": round(p50_seconds),
            "p50_seconds": p50_seconds,
            "p90_seconds": p50_seconds * 1.5,
            "model": {"name": "test", "digest": "d"},
            "features": {"leg": "to_customer", "rider_speed_mps": 5.0, **features},
            "because": ["rider_silent"],
            "positions": {"order": order_position, "rider": rider_position, "city_snapshot": 7},
            "at_ms": at_ms,
            "age_ms": 0,
        }
        places = EtaPlace(1, 1, order_position), RIDER, EtaPlace(1, 1, rider_position)
        add(self.backends.engine, "code", {}, [ServedEta(ORDER, *places, 7, "c", "d", at_ms, body_of(values))])
        with self.backends.engine.connect() as connection:
            return int(connection.execute(text("SELECT max(id) FROM served_etas")).scalar_one())


@contextmanager
def linked_city(postgres_url: str) -> Iterator[LinkedCity]:
    with Backends(Settings(postgres_url=postgres_url)) as backends:
        yield LinkedCity(backends)


@contextmanager
def lineage_client(backends: Backends) -> Iterator[httpx.Client]:
    """A client of the routes under ``/lineage``."""
    engine, decode = backends.engine, backends.decode
    reads = LineageReads(
        EventLinks(engine),
        PingChanges(engine, decode, 100_000),
        FraudReader(engine, [CaseSource(SPOOFING, fraud_alerts)], lambda _: True),
        PayoutReads(engine),
        ServedEtaLinks(engine),
        EventEncoder(decode),
        decode,
    )
    with (
        served(Litestar(lineage_routes(reads), exception_handlers=HANDLERS)) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client
