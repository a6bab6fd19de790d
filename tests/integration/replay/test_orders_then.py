"""Which orders were open as of an instant, on a real log: what had happened by then, and what was known by then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from domain.deliveries.commands import Assign, Cancel, Complete, DeliveryCommand, PickUp, PlaceOrder, Unassign
from domain.deliveries.values import Coordinates
from domain.features.delivery_row import DeliveryRow
from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.postgres.projection_sink import PostgresSink
from infrastructure.replay.orders_then import MAX_ORDER_EVENTS, OrdersThen, OrdersThenFound
from infrastructure.settings.settings import Settings
from infrastructure.timestamps import now_ms
from projections.deliveries import DELIVERIES
from projections.rebuild.catch_up import CatchUp
from projections.replay.as_of import AsOf
from projections.replay.key_replay import TooLong

HERE = Coordinates(52.5, 13.4)


class Orders:
    """Commands on a real log, received at instants of the test's own."""

    def __init__(self, backends: Backends) -> None:
        self.backends = backends
        self.start_ms = now_ms() - 3_600_000
        self.then = OrdersThen(backends.engine, backends.decode)
        backends.generations.first(DELIVERIES)

    def send(self, kind: type[DeliveryCommand], order: str, received_s: int, at_s: int | None = None, **f: Any) -> int:
        """Returns the position of the event. ``at_s``: when it happened, in seconds after the start."""
        at_ms = None if at_s is None else self.start_ms + at_s * 1_000
        command = kind(order_id=order, received_ms=self.start_ms + received_s * 1_000, at_ms=at_ms, **f)
        [outcome] = self.backends.deliveries.execute([command])
        assert outcome.rejection is None, outcome
        return self.backends.log.head("Delivery").position

    def place(self, order: str, received_s: int) -> None:
        self.send(PlaceOrder, order, received_s, restaurant=HERE, customer=HERE, time_zone="UTC", currency="EUR")

    def at(self, as_of: AsOf) -> dict[str, tuple[str, str | None]]:
        """Status and rider of each open order."""
        found = self.found(as_of)
        assert not found.more
        return {one.order_id: (one.row.status, one.row.rider_id) for one in found.orders}

    def found(self, as_of: AsOf) -> OrdersThenFound:
        """The answer, after the projection of deliveries has followed the log."""
        sink = PostgresSink(self.backends.sink_engine, DELIVERIES, 1)
        CatchUp(DELIVERIES, self.backends.log, sink, self.backends.decode, range(SHARDS)).run()
        return self.then.at(as_of)

    def one(self, order_id: str, as_of: AsOf) -> DeliveryRow | None:
        return self.then.one(order_id, as_of).row

    def happened(self, after_s: int) -> AsOf:
        return AsOf.happened(self.start_ms + after_s * 1_000)


@pytest.fixture
def orders(postgres_url: str) -> Iterator[Orders]:
    with Backends(Settings(postgres_url=postgres_url)) as backends:
        yield Orders(backends)


def test_an_order_has_the_stage_of_the_instant_and_is_gone_after_its_end(orders: Orders) -> None:
    orders.place("a", 10)
    orders.send(Assign, "a", 20, rider_id="anna")
    orders.send(PickUp, "a", 30)
    orders.send(Complete, "a", 40)
    seen = [orders.at(orders.happened(at)) for at in (5, 15, 25, 35, 45)]
    assert seen == [{}, {"a": ("placed", None)}, {"a": ("assigned", "anna")}, {"a": ("picked_up", "anna")}, {}]


def test_a_rider_of_then_is_shown_though_another_carries_the_order_now(orders: Orders) -> None:
    orders.place("a", 10)
    orders.send(Assign, "a", 20, rider_id="anna")
    orders.send(Unassign, "a", 30)
    orders.send(Assign, "a", 40, rider_id="ben")
    assert [orders.at(orders.happened(at))["a"][1] for at in (25, 35, 45)] == ["anna", None, "ben"]


def test_a_step_that_was_reported_late_has_happened_but_was_not_known(orders: Orders) -> None:
    """Given a pick-up at 30 s that a phone reported at 90 s, when 50 s is read, then the axes differ in that order."""
    orders.place("a", 10)
    known = orders.send(Assign, "a", 20, rider_id="anna")
    orders.send(PickUp, "a", 90, at_s=30)
    assert orders.at(orders.happened(50)) == {"a": ("picked_up", "anna")}
    assert orders.at(AsOf.at_position(known)) == {"a": ("assigned", "anna")}


def test_one_order_has_the_stage_that_the_map_shows_on_each_axis_and_after_its_end(orders: Orders) -> None:
    """Given a pick-up that was reported late, when one order is read, then by the events that count, as all are."""
    orders.place("a", 10)
    known = orders.send(Assign, "a", 20, rider_id="anna")
    orders.send(PickUp, "a", 90, at_s=30)
    orders.send(Complete, "a", 100)
    pasts = [orders.happened(25), orders.happened(50), AsOf.at_position(known), orders.happened(5 * 3_600)]
    found = [orders.one("a", past) for past in pasts]
    stages = [None if row is None else (row.status, row.picked_up_at_ms is not None) for row in found]
    assert stages == [("assigned", False), ("picked_up", True), ("assigned", False), ("completed", True)]
    for past, row in zip(pasts[:3], found[:3], strict=True):
        assert row is not None
        assert orders.at(past) == {"a": (row.status, row.rider_id)}


def test_an_order_is_unknown_before_it_was_placed_and_one_of_no_event_always(orders: Orders) -> None:
    orders.place("a", 10)
    asked = [
        ("a", orders.happened(5)),
        ("a", AsOf.at_position(0)),
        ("b", orders.happened(50)),
        ("\0", orders.happened(50)),
    ]
    assert [orders.one(order, past) for order, past in asked] == [None] * 4


def test_orders_of_long_ago_are_not_shown(orders: Orders) -> None:
    orders.place("a", 10)
    assert orders.at(orders.happened(3 * 3_600)) == {"a": ("placed", None)}
    assert orders.at(orders.happened(3 * 3_600 + 11)) == {}


def test_regression_an_order_of_more_events_than_are_read_is_left_out_and_said_to_be(orders: Orders) -> None:
    orders.place("a", 10)
    orders.place("b", 11)
    for turn in range(MAX_ORDER_EVENTS // 2):
        orders.send(Assign, "a", 20 + 2 * turn, rider_id="anna")
        orders.send(Unassign, "a", 21 + 2 * turn)
    orders.send(Cancel, "a", 3_000, reason="lost")
    found = orders.found(orders.happened(3_500))
    assert ([one.order_id for one in found.orders], found.more) == (["b"], True)
    with pytest.raises(TooLong, match="more than 100 events"):
        orders.one("a", orders.happened(3_500))
