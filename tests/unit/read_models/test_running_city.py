"""The city along the log answers as a snapshot that is merged at each instant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product

from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.features import orders
from domain.features.eta.city_view import CityView
from domain.features.keyed_event import KeyedEvent
from domain.features.traffic.changes import changes
from domain.features.traffic.fold import EMPTY, TrafficState, fold
from domain.features.traffic.steps import OCTANTS, cell_at, hour_of_week
from infrastructure.training_sets.city_changes import OPEN_BUCKET, order_changes
from projections.core.fold import NO_SNAPSHOTS, Fold
from projections.core.ports import LoggedEvent
from projections.orders import ORDERS
from projections.traffic import TRAFFIC
from read_models.city.content import digest_of, encode
from read_models.city.running import RunningCity
from read_models.city.snapshot import CitySnapshot
from tests.support.worlds.city import BUSY_HOURS, CityArchive, drive, histories, replayed, vector_of
from tests.support.worlds.order_lives import OrderHistory

CELLS = [cell_at(52.52 + north, 13.4) for north in (0.0, 0.004, 0.009, 0.08)] + [cell_at(52.52, 13.41)]


class Along:
    """Both logs, followed event by event into a running city."""

    def __init__(self) -> None:
        self.city = RunningCity()
        self._traffic: dict[str, TrafficState] = {}
        self._orders: dict[str, orders.OrderState] = {}

    def ride(self, event: LoggedEvent) -> None:
        before = self._traffic.get(event.key, EMPTY)
        data = json.loads(event.payload)
        after = fold(before, KeyedEvent(event.key, event.version, event.position, event.event_type, data))
        self._traffic[event.key] = after
        for bucket, cell, octant, ms, mm, riders in changes(before, after):
            self.city.add_usual(hour_of_week(bucket), cell, octant, ms, mm)
            self.city.add_recent(bucket, (cell, octant), ms, mm, riders)

    def order(self, event: LoggedEvent) -> None:
        done = Fold(ORDERS, json.loads, lambda: 0, NO_SNAPSHOTS).run([event], self._orders.get, (), ())
        self._orders.update(done.states)
        for bucket, cell, *sums in order_changes(dict(done.partials)):
            if bucket == OPEN_BUCKET:
                self.city.add_open(cell, sums[0])
            else:
                self.city.add_finished(bucket, cell, (sums[0], sums[1], sums[2], sums[3]))


def answers(city: CityView, at_ms: int) -> Iterator[object]:
    yield city.as_of_ms
    yield city.fleet_pace()
    for cell, octant in product(CELLS, range(OCTANTS)):
        yield cell, octant, city.pace(cell, octant, at_ms), city.index(cell, octant, at_ms)
    for cell in CELLS:
        yield cell, city.orders_at(cell)


def snapshot(rides: OrderHistory, deliveries: OrderHistory, as_of_ms: int) -> CitySnapshot:
    logs = CityArchive("Rider", rides), CityArchive("Delivery", deliveries)
    traffic = vector_of(logs[0], TRAFFIC, logs[0].head("Rider").seqs)
    sums = vector_of(logs[1], ORDERS, logs[1].head("Delivery").seqs)
    content = replayed(as_of_ms, traffic, sums)
    return CitySnapshot(1, digest_of(encode(content)), content)


_cuts = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=3)
_CROWD = [event for n in range(4) for event in drive(f"rider-{n}", 40 * n, 8, 150, north=True)]
"""Four riders on one way within five minutes: traffic of now counts from three riders on."""


@settings(max_examples=25)
@given(history=histories, cuts=_cuts)
@example(history=(_CROWD, []), cuts=[(20, 0)])
@example(history=([*_CROWD, *drive("late", 1_500, 8, 400, north=True)], []), cuts=[])
@example(history=(BUSY_HOURS, []), cuts=[])
def test_the_running_city_answers_as_a_snapshot_of_every_prefix(
    history: tuple[OrderHistory, OrderHistory], cuts: list[tuple[int, int]]
) -> None:
    rides, deliveries = history
    cuts = [(min(a, len(rides)), min(b, len(deliveries))) for a, b in cuts]
    logs, along = (CityArchive("Rider", rides), CityArchive("Delivery", deliveries)), Along()
    done, as_of_ms = [0, 0], 0
    for upto in [*zip(*map(sorted, zip(*cuts, strict=True)), strict=True), (len(rides), len(deliveries))]:
        for event in logs[0].events[done[0] : upto[0]]:
            along.ride(event)
        for event in logs[1].events[done[1] : upto[1]]:
            along.order(event)
        done = list(upto)
        past = [*rides[: upto[0]], *deliveries[: upto[1]]]
        # No instant is before an event that counts: a ring's slot has no room for what comes hours later.
        as_of_ms = max([as_of_ms, *(one[2]["event_timestamp_ms"] for one in past)])
        expected = snapshot(rides[: upto[0]], deliveries[: upto[1]], as_of_ms)
        assert list(answers(along.city.at(as_of_ms), as_of_ms)) == list(answers(expected, as_of_ms))
