"""A log of many events on a running ``serve``: RIDERS riders with full windows, who have an order each."""

from __future__ import annotations

from typing import Any

from benchmarks.folded import wait_folded
from domain.deliveries.commands import Assign, DeliveryCommand, PlaceOrder
from domain.deliveries.values import Coordinates
from domain.gps_ping import parse_ping
from infrastructure.backends import Backends
from infrastructure.timestamps import now_ms
from projections.orders import ORDERS
from projections.speed import SPEED
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog

RIDERS = 1_000
BATCH = 5_000
GIVE_UP_S = 300.0


def order(number: int) -> str:
    return f"order-{number}"


def fill(backends: Backends, events: int) -> None:
    """Pings of all riders until the log has ``events``, then an order each."""
    turns = max(10, (events - 2 * RIDERS) // RIDERS)
    start_ms = now_ms() - turns * 2_000
    pings: list[Any] = []
    for turn in range(turns):
        for number in range(RIDERS):
            at_ms = start_ms + turn * 2_000
            item = {
                "rider_id": f"rider-{number}",
                "latitude": 52.4 + (turn % 2_000) * 9e-5 + number % 100 * 1e-7,
                "longitude": 13.3 + number * 2e-4,
                "event_timestamp_ms": at_ms,
                "accuracy_meters": 5,
            }
            pings.append(parse_ping(item, at_ms))
        if len(pings) >= BATCH or turn == turns - 1:
            backends.riders.record_pings(pings)
            pings = []
    commands: list[DeliveryCommand] = []
    for number in range(RIDERS):
        place = Coordinates(52.5, 13.3 + number * 2e-4)
        at_ms = now_ms()
        commands += [
            PlaceOrder(
                order_id=order(number),
                received_ms=at_ms,
                restaurant=place,
                customer=Coordinates(52.52, place.longitude),
                time_zone="Europe/Berlin",
                currency="EUR",
                preparation_seconds=600,
            ),
            Assign(order_id=order(number), received_ms=at_ms, rider_id=f"rider-{number}"),
        ]
    for first in range(0, len(commands), 200):
        assert all(one.rejection is None for one in backends.deliveries.execute(commands[first : first + 200]))


def wait_served(one: Ridelog, backends: Backends) -> None:
    """Wait until all events are folded and a city snapshot is served."""
    for projection in (SPEED, ORDERS):
        events = sum(backends.log.head(projection.stream).seqs)
        wait_folded(one.info, projection, events, within_s=GIVE_UP_S * 4)

    def has_city() -> bool:
        answer = one.http.get(f"/deliveries/{order(0)}/eta")
        return answer.status_code == 200 and answer.json()["positions"]["city_snapshot"] is not None

    eventually(has_city, within_s=GIVE_UP_S, what="a city snapshot is served")
