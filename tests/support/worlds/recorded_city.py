"""A city with its audit in memory: two logs, snapshots merged from them, and their records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from projections.core.projection import Projection
from projections.parity.audit_limits import FoldBudget
from projections.parity.city_audit import CheckedCity, CityAudit
from projections.replay.city import CITY_PROJECTIONS, CitySources
from projections.replay.source import ReplaySource
from read_models.city.content import CityContent, CityParts, CityTables, TableVector, digest_of, encode, hours_of, merge
from tests.support.ports_in_memory.audit_dumps import MemoryAuditDumps
from tests.support.worlds.answered_orders import eta_data
from tests.support.worlds.city import CityArchive, drive, vector_of
from tests.support.worlds.order_lives import OrderHistory, placed_data, step_data
from tests.support.worlds.rider_events import START_MS

AS_OF_MS = START_MS + 700_000


class Recorded(NamedTuple):
    """The record of a snapshot."""

    number: int
    as_of_ms: int
    log_id: UUID
    vectors: Mapping[str, TableVector]
    digest: str
    parked: Mapping[str, frozenset[int]] = {}


class City:
    """Both logs, and the city process: each snapshot is the refold of the logs at its vector."""

    def __init__(self, riders: OrderHistory, orders: OrderHistory) -> None:
        self.logs = CityArchive("Rider", riders), CityArchive("Delivery", orders)
        self.logs[1].log_id = self.logs[0].log_id
        self.restarts: list[str] = []
        self.ignored: list[str] = []
        self.dumps = MemoryAuditDumps()
        self.numbers = 0

    def audit(self, max_state_bytes: int = 1 << 20, *, confirms: bool = False) -> CityAudit:
        return CityAudit(
            CitySources(*(ReplaySource(of, self.log_of(of), json.loads) for of in CITY_PROJECTIONS)),
            self.restarts.append,
            dumps=self.dumps,
            on_ignored_dump=self.ignored.append,
            confirms=confirms,
            max_state_bytes=max_state_bytes,
        )

    def heads(self) -> list[list[int]]:
        return [list(self.log_of(of).head(of.stream).seqs) for of in CITY_PROJECTIONS]

    def log_of(self, projection: Projection[Any]) -> CityArchive:
        return self.logs[projection.stream == "Delivery"]

    def tables(self, seqs: Sequence[Sequence[int]] | None = None) -> list[CityTables]:
        seqs = self.heads() if seqs is None else seqs
        return [vector_of(self.log_of(of), of, one) for of, one in zip(CITY_PROJECTIONS, seqs, strict=True)]

    def content(self, tables: Sequence[CityTables] | None = None, as_of_ms: int = AS_OF_MS) -> CityContent:
        parts = CityParts(*(self.tables() if tables is None else tables))
        return merge(str(self.logs[0].log_id), as_of_ms, parts, hours_of(parts))

    def record(self, content: CityContent | None = None) -> Recorded:
        content = self.content() if content is None else content
        self.numbers += 1
        of_each = (content.traffic, content.orders, content.calibration)
        vectors = {projection.name: vector for projection, vector in zip(CITY_PROJECTIONS, of_each, strict=True)}
        return Recorded(self.numbers, content.as_of_ms, UUID(content.log_id), vectors, digest_of(encode(content)))


def finished(audit: CityAudit, city: Recorded, events_a_step: int = 1 << 60) -> CheckedCity:
    while (checked := audit.check(city, FoldBudget(events_a_step))) is None:
        pass
    return checked


def rides_of(riders: int, metres: int = 200, first: int = 0) -> OrderHistory:
    return [event for n in range(first, first + riders) for event in drive(f"r{n}", 0, 16, metres, north=True)]


def orders_of(count: int) -> OrderHistory:
    found: OrderHistory = []
    for n in range(count):
        found.append((f"o{n}", "DeliveryPlaced", placed_data(f"o{n}", START_MS + n, n)))
        found.append((f"o{n}", "EtaServed", eta_data(f"o{n}", START_MS + n, n, leg="unassigned", city_snapshot=None)))
        found += [
            (f"o{n}", f"Delivery{step}", step_data(f"o{n}", START_MS + at_s * 1_000 + n, 100 * at_s + n))
            for step, at_s in (("Assigned", 60), ("PickedUp", 240), ("Completed", 480))
            if n % 3 or step != "Completed"
        ]
    return found
