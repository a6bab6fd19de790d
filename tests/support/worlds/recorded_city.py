"""A city with its audit in memory: two logs, snapshots merged from them, and their records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from projections.core.projection import Projection
from projections.orders import ORDERS
from projections.parity.audit_limits import FoldBudget
from projections.parity.city_audit import CheckedCity, CityAudit
from projections.replay.city import CitySources
from projections.replay.source import ReplaySource
from projections.traffic import TRAFFIC
from read_models.city.content import CityContent, CityTables, TableVector, digest_of, encode, hours_of, merge
from tests.support.ports_in_memory.audit_dumps import MemoryAuditDumps
from tests.support.worlds.city import CityArchive, drive, vector_of
from tests.support.worlds.order_lives import OrderHistory, placed_data, step_data
from tests.support.worlds.rider_events import START_MS

AS_OF_MS = START_MS + 700_000
PROJECTIONS: tuple[Projection[Any], ...] = (TRAFFIC, ORDERS)


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
        traffic, orders = (
            ReplaySource(projection, log, json.loads) for projection, log in zip(PROJECTIONS, self.logs, strict=True)
        )
        return CityAudit(
            CitySources(traffic, orders),
            self.restarts.append,
            dumps=self.dumps,
            on_ignored_dump=self.ignored.append,
            confirms=confirms,
            max_state_bytes=max_state_bytes,
        )

    def heads(self) -> list[list[int]]:
        return [list(log.head(of.stream).seqs) for log, of in zip(self.logs, PROJECTIONS, strict=True)]

    def tables(self, seqs: Sequence[Sequence[int]] | None = None) -> list[CityTables]:
        seqs = self.heads() if seqs is None else seqs
        return [vector_of(log, of, one) for log, of, one in zip(self.logs, PROJECTIONS, seqs, strict=True)]

    def content(self, tables: Sequence[CityTables] | None = None, as_of_ms: int = AS_OF_MS) -> CityContent:
        traffic, orders = self.tables() if tables is None else tables
        return merge(str(self.logs[0].log_id), as_of_ms, traffic, orders, hours_of(traffic))

    def record(self, content: CityContent | None = None) -> Recorded:
        content = self.content() if content is None else content
        self.numbers += 1
        vectors = {TRAFFIC.name: content.traffic, ORDERS.name: content.orders}
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
        found += [
            (f"o{n}", f"Delivery{step}", step_data(f"o{n}", START_MS + at_s * 1_000 + n, 100 * at_s + n))
            for step, at_s in (("Assigned", 60), ("PickedUp", 240), ("Completed", 480))
            if n % 3 or step != "Completed"
        ]
    return found
