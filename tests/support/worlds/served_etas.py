"""ETAs as a service with this code would have served them, from two logs in memory, and the audit of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from domain.features.eta.baseline import EtaModel
from domain.features.orders import OrderState
from domain.features.speed.window import SpeedState
from projections.core.fold import NO_SNAPSHOTS, Fold
from projections.core.projection import Projection
from projections.orders import ORDERS
from projections.parity.city_audit import CityAudit
from projections.parity.eta_audit import AuditedCity, CheckedEta, EtaAudit, EtaCode
from projections.parity.key_states import KeyStates
from projections.parity.served_etas import EtaPlace, LoggedEta, ServedEta
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from read_models.city.content import CityContent
from read_models.city.snapshot import CitySnapshot
from read_models.eta.answer import eta_answer
from read_models.view import body_of
from tests.support.ports_in_memory.archive import MemorySnapshots
from tests.support.worlds.city import CityArchive
from tests.support.worlds.eta_on_servers import MODEL
from tests.support.worlds.order_lives import OrderHistory
from tests.support.worlds.recorded_city import City, Recorded, finished
from tests.support.worlds.rider_events import START_MS

CODE, FINGERPRINT = "this code", {"libm": "this machine"}
Answer = Callable[..., dict[str, Any]]


def leg(rider: str, order: str, second: int, name: str = "to_restaurant") -> tuple[str, str, dict[str, Any]]:
    """A LegStarted of the rider, to the restaurant or the customer of ``placed_data``."""
    latitude, longitude = (52.52, 13.4) if name == "to_restaurant" else (52.53, 13.41)
    data = {"rider_id": rider, "order_id": order, "leg": name, "event_id": str(UUID(int=second))}
    place = {"target_latitude": latitude, "target_longitude": longitude}
    return rider, "LegStarted", data | place | {"event_timestamp_ms": START_MS + second * 1_000}


class EtaWorld:
    """Both logs; ``serve`` answers as of any versions and any snapshot, and records the answer."""

    def __init__(self, riders: OrderHistory, orders: OrderHistory) -> None:
        self.city = City(riders, orders)
        self.riders, self.orders = self.city.logs
        self.cities: dict[int, tuple[Recorded, CityContent]] = {}
        self.answered: list[LoggedEta] = []

    def snapshot(self, seqs: Sequence[Sequence[int]] | None = None, as_of_ms: int = START_MS + 700_000) -> int:
        """Make a snapshot at these fences, by default at the heads. Returns its number."""
        content = self.city.content(self.city.tables(seqs), as_of_ms)
        record = self.city.record(content)
        self.cities[record.number] = record, content
        return record.number

    def serve(
        self,
        order: str,
        version: int,
        rider_version: int,
        city: int | None,
        at_ms: int,
        answer: Answer = eta_answer,
        model: EtaModel = MODEL,
    ) -> LoggedEta:
        """``rider_version`` 0: nothing of the rider was folded. ``answer``: the code of the service."""
        order_place, state = self._at(ORDERS, self.orders, order, version)
        rider_place, rider = None, None
        if rider_version and state.rider_id is not None:
            rider_place, rider = self._at(SPEED, self.riders, state.rider_id, rider_version)
        record, content = self.cities[city] if city else (None, None)
        snapshot = None if record is None or content is None else CitySnapshot(record.number, record.digest, content)
        body = body_of(answer(order, state, rider, (snapshot, city), model, at_ms))
        digest = None if record is None else record.digest
        eta = ServedEta(order, order_place, state.rider_id, rider_place, city, digest, model.digest, at_ms, body)
        logged = LoggedEta(len(self.answered) + 1, self.orders.log_id, CODE, FINGERPRINT, None, eta)
        self.answered.append(logged)
        return logged

    def last_version(self, log: CityArchive, key: str) -> int:
        return sum(event.key == key for event in log.events)

    def _at(self, projection: Projection[Any], log: CityArchive, key: str, version: int) -> tuple[EtaPlace, Any]:
        events = [event for event in log.events if event.key == key][:version]
        done = Fold(projection, json.loads, lambda: 0, NO_SNAPSHOTS).run(events, lambda _: None, (), ())
        return EtaPlace(1, version, events[-1].position), done.states[key]


class WorldAudit(NamedTuple):
    """The audit of a world, and the audit of its city."""

    etas: EtaAudit
    orders: KeyStates[OrderState]
    riders: KeyStates[SpeedState]
    city: CityAudit
    world: EtaWorld

    @property
    def events(self) -> int:
        return self.etas.events

    def check(self, batch: Sequence[LoggedEta], **options: Any) -> list[CheckedEta]:
        return list(self.etas.check(batch, self.world.orders.log_id, self._city, **options))

    def _city(self, number: int) -> AuditedCity | None:
        if number not in self.world.cities:
            return None
        record = self.world.cities[number][0]
        checked = finished(self.city, record)
        return AuditedCity(record.digest, checked.verdict, checked.content, checked.why)


def audit_of(
    world: EtaWorld,
    folds: Callable[[str, int], bool] = lambda name, generation: True,
    model: EtaModel = MODEL,
) -> WorldAudit:
    """An audit that begins at the first event. ``model``: the one that it computes answers with."""

    def states(projection: Projection[Any], log: CityArchive) -> KeyStates[Any]:
        source = ReplaySource(projection, log, json.loads)
        return KeyStates(source, MemorySnapshots(log), lambda wrong: None)

    models = {model.digest: model}
    orders, riders = states(ORDERS, world.orders), states(SPEED, world.riders)
    audit = EtaAudit(orders, riders, EtaCode(CODE, FINGERPRINT, models.get, folds))
    return WorldAudit(audit, orders, riders, world.city.audit(), world)
