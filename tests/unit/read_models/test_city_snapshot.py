"""What a city snapshot answers, and that its pruned hours change no answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.features.eta.city_view import CellOrders, CityView
from domain.features.traffic.city import CityTraffic, Sums, traffic_levels
from domain.features.traffic.partials import ALL_TIME_SLOT, FIRST_HOUR_SLOT
from domain.features.traffic.steps import HOURS_OF_WEEK, cell_at
from projections.orders import ORDERS
from projections.traffic import TRAFFIC
from read_models.city.content import CityTables, decode, digest_of, encode
from read_models.city.snapshot import CitySnapshot
from tests.support.worlds.city import BUSY_HOURS, CityArchive, drive, histories, replayed, vector_of
from tests.support.worlds.order_lives import OrderHistory, placed_data, step_data
from tests.support.worlds.rider_events import START_MS

CELL = cell_at(52.52, 13.4)
MINUTE_MS = 60_000


def snapshot_of(as_of_ms: int, rides: OrderHistory, orders: OrderHistory) -> tuple[CitySnapshot, CityTables]:
    logs = CityArchive("Rider", rides), CityArchive("Delivery", orders)
    traffic, sums = (
        vector_of(log, projection, log.head(projection.stream).seqs)
        for log, projection in zip(logs, PROJECTIONS, strict=True)
    )
    data = encode(replayed(as_of_ms, traffic, sums))
    return CitySnapshot(7, digest_of(data), decode(data)), traffic


PROJECTIONS: tuple[Any, ...] = (TRAFFIC, ORDERS)


def whole(snapshot: CitySnapshot, traffic: CityTables) -> CityTraffic:
    """The same look-ups over all hours of the week, none left out."""
    hours: dict[int, dict[int, Sums]] = {}
    for slot in range(FIRST_HOUR_SLOT, FIRST_HOUR_SLOT + HOURS_OF_WEEK):
        for field, (ms, mm) in traffic.permanent.get(slot, {}).items():
            hours.setdefault(int(field, 16), {})[slot - FIRST_HOUR_SLOT] = ms, mm
    headings = {}
    for field, (ms, mm) in traffic.permanent.get(ALL_TIME_SLOT, {}).items():
        cell, octant = field.split("/")
        headings[int(cell, 16), int(octant)] = ms, mm
    recent = {(cell, octant): (ms, mm, riders) for cell, octant, ms, mm, riders in snapshot.content.recent}
    return CityTraffic(traffic_levels(headings, hours, recent))


@settings(max_examples=30)
@given(history=histories, later_ms=st.sampled_from([0, 1_800_000, 3_600_000]), as_of_s=st.integers(0, 9_000))
@example(history=(BUSY_HOURS, []), later_ms=0, as_of_s=1_000)
@example(history=(BUSY_HOURS, []), later_ms=3_600_000, as_of_s=1_000)
@example(history=(BUSY_HOURS, []), later_ms=3_600_000, as_of_s=300_000)
def test_the_hours_that_are_left_out_change_no_answer(
    history: tuple[OrderHistory, OrderHistory], later_ms: int, as_of_s: int
) -> None:
    snapshot, traffic = snapshot_of(START_MS + as_of_s * 1_000, *history)
    at_ms, expected = snapshot.as_of_ms + later_ms, whole(snapshot, traffic)
    for cell, octant, *_ in snapshot.content.headings:
        for heading in (octant, (octant + 1) % 8):
            assert snapshot.pace(cell, heading, at_ms) == expected.pace(cell, heading, at_ms)
            assert snapshot.index(cell, heading, at_ms) == expected.index(cell, heading, at_ms)
    assert snapshot.fleet_pace() == expected.fleet_pace()


def test_orders_of_a_cell() -> None:
    def order(name: str, minute: float, *steps: str, promised: int | None = 1_800) -> OrderHistory:
        events = [(name, "DeliveryPlaced", placed_data(name, START_MS, promised_seconds=promised))]
        times = [START_MS + round(minute * MINUTE_MS) for _ in steps]
        return events + [(name, f"Delivery{s}", step_data(name, t)) for s, t in zip(steps, times, strict=True)]

    done = ("Assigned", "PickedUp", "Completed")
    orders = [
        *order("open", 1),
        *order("on the way", 1, "Assigned", "PickedUp"),
        *order("late", 40, *done),
        *order("early", 20, *done),
        *order("no promise", 30, *done, promised=None),
        *order("off", 1, "Cancelled"),
    ]
    snapshot, _ = snapshot_of(START_MS + 41 * MINUTE_MS, [], orders)
    view: CityView = snapshot
    assert view.orders_at(CELL) == CellOrders(2, 1_800.0, 0.0)
    assert view.orders_at(CELL + 1) == CellOrders(0, None, None)
    # Within an hour of the completion, by buckets of five minutes.
    assert snapshot_of(START_MS + 79 * MINUTE_MS, [], orders)[0].orders_at(CELL) == CellOrders(2, 2_100.0, 600.0)
    assert snapshot_of(START_MS + 120 * MINUTE_MS, [], orders)[0].orders_at(CELL) == CellOrders(2, None, None)


def test_the_traffic_of_a_cell_has_its_riders_and_an_index() -> None:
    rides = [event for n in range(12) for event in drive(f"r{n}", 0, 30, 200, north=True)]
    snapshot, _ = snapshot_of(START_MS + 600_000, rides, [])
    cell, heading = snapshot.cells()[0]
    found = snapshot.traffic_of(cell)
    assert [one.heading for one in found] == list(range(8))
    assert found[heading].riders >= 3
    assert found[heading].pace_s_per_km == pytest.approx(100.0, rel=0.05)
    assert found[heading].traffic_index == pytest.approx(1.0, rel=0.05)


def test_nothing_is_known_of_an_empty_city() -> None:
    snapshot, _ = snapshot_of(START_MS, [], [])
    assert (snapshot.pace(CELL, 0, START_MS), snapshot.index(CELL, 0, START_MS), snapshot.fleet_pace()) == (None,) * 3
    assert snapshot.cells() == []
