"""``GET /live`` over real HTTP: the log says what moved, the read models say where it is; both in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import httpx
import pytest

from domain.deliveries.values import Coordinates, DeliverySnapshot
from domain.features.latest_location import LocationFix, LocationState
from infrastructure.http.application import ApiParts, build
from infrastructure.http.event_streams import OpenStreams
from infrastructure.http.live import live_route
from infrastructure.http.live_feed import MAX_KEPT_FRAMES, MAX_ORDERS, MAX_READ_KEYS, LiveFeed
from infrastructure.http.pending_keys import MAX_PENDING_KEYS
from infrastructure.settings.settings import Settings
from read_models.locations.state import encode
from tests.support.http.event_stream import EventStreamClient, event_stream
from tests.support.ports_in_memory.log_end import MemoryLogEnd
from tests.support.servers.http_server import running_server
from tests.support.worlds.recorded_events import nothing


class PlacesInMemory:
    """The read model locations: ``put`` is what its projection has folded."""

    def __init__(self) -> None:
        self._states: dict[str, bytes] = {}

    def put(self, rider: str, position: int, latitude: float) -> None:
        fix = LocationFix(1_790_000_000_000 + position, "0" * 32, latitude, 13.4, None, 0)
        self._states[rider] = encode(LocationState(position, position, fix))

    def damage(self, rider: str) -> None:
        self._states[rider] = b"damaged"

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return {key: self._states[key] for key in keys if key in self._states}

    async def sample(self, most: int) -> dict[str, bytes]:
        return dict(self._states)


class OrdersInMemory:
    """The read model deliveries."""

    def __init__(self) -> None:
        self.rows: dict[str, DeliverySnapshot] = {}

    def put(self, order_id: str, status: str, position: int, placed_at_ms: int = 1) -> None:
        place = Coordinates(52.5, 13.4)
        times = (None,) * 5
        self.rows[order_id] = DeliverySnapshot(
            order_id,
            status,
            None,
            place,
            place,
            "",
            "Europe/Berlin",
            "EUR",
            placed_at_ms,
            *times,
            None,
            None,
            None,
            1,
            position,
        )

    def some(self, order_ids: Sequence[str]) -> list[DeliverySnapshot]:
        return [self.rows[order_id] for order_id in order_ids if order_id in self.rows]

    def newest(self, status: str, limit: int) -> list[DeliverySnapshot]:
        assert limit > 0  # Postgres rejects a negative one
        rows = [row for row in self.rows.values() if row.status == status]
        return sorted(rows, key=lambda row: (row.placed_at_ms, row.order_id), reverse=True)[:limit]


class LiveWorld:
    """A served ``/live`` over a log and read models in memory."""

    def __init__(self) -> None:
        self.log = MemoryLogEnd()
        self.places = PlacesInMemory()
        self.orders = OrdersInMemory()
        self.url = ""

    @contextmanager
    def serving(self, max_pending: int = MAX_PENDING_KEYS) -> Iterator[None]:
        streams = OpenStreams(8)
        limits = {"interval_s": 0.02, "reseed_interval_s": 0.0}
        feed = LiveFeed(self.log, self.places, self.orders, max_pending=max_pending, **limits)
        streams.call_at_stop(feed.wake)
        absent = cast("Any", None)
        routes = [live_route(feed, streams)]
        parts = ApiParts(absent, absent, absent, lambda: None, lambda _: None, {}, nothing, routers=routes)
        with running_server(build(Settings(), parts), on_stopping=streams.stop) as (url, _):
            self.url = f"{url}/live"
            yield


@pytest.fixture
def world() -> Iterator[LiveWorld]:
    one = LiveWorld()
    with one.serving():
        yield one


def until_rider(stream: EventStreamClient, rider: str, position: int) -> dict[str, Any]:
    """The rider's place, as soon as a message shows this position. Ends only by the time limit of a read."""
    while True:
        (message,) = stream.take(1)
        for place in message.data["riders"]:
            if (place["rider_id"], place["position"]) == (rider, position):
                return cast("dict[str, Any]", place)


def test_a_page_gets_everything_and_then_what_moves(world: LiveWorld) -> None:
    world.log.ping("anna", "ben")
    world.places.put("anna", 1, 52.1)
    world.places.put("ben", 2, 52.2)
    world.orders.put("order-1", "placed", 2)
    with event_stream(world.url) as stream:
        (first,) = stream.take(1)
        assert first.kind == "snapshot"
        assert {place["rider_id"] for place in first.data["riders"]} == {"anna", "ben"}
        assert [order["order_id"] for order in first.data["orders"]] == ["order-1"]
        world.places.put("anna", 3, 52.3)
        world.log.ping("anna")
        assert until_rider(stream, "anna", 3)["latitude"] == 52.3


def test_a_rider_is_read_until_the_read_model_has_folded_its_ping(world: LiveWorld) -> None:
    """Given a projection that lags, when it has folded the ping later, then the page gets the place without another."""
    world.places.put("anna", 0, 52.0)
    with event_stream(world.url) as stream:
        assert stream.take(1)[0].kind == "snapshot"
        world.log.ping("anna")
        world.log.ping("ben")
        world.places.put("ben", 2, 52.2)
        assert until_rider(stream, "ben", 2)
        world.places.put("anna", 1, 52.1)
        assert until_rider(stream, "anna", 1)["latitude"] == 52.1


def test_an_order_that_ends_is_sent_once_more_and_leaves_the_map(world: LiveWorld) -> None:
    world.orders.put("order-1", "picked_up", 1)
    world.log.append("Delivery", "order-1", "DeliveryPickedUp")
    with event_stream(world.url) as stream:
        assert [order["status"] for order in stream.take(1)[0].data["orders"]] == ["picked_up"]
        world.orders.put("order-1", "completed", 2)
        world.log.append("Delivery", "order-1", "DeliveryCompleted")
        ended = None
        while ended is None:
            (message,) = stream.take(1)
            ended = next((order for order in message.data["orders"] if order["status"] == "completed"), None)
    with event_stream(world.url) as again:
        assert again.take(1)[0].data["orders"] == []


def test_a_program_gets_what_is_on_the_map_once(world: LiveWorld) -> None:
    world.places.put("anna", 1, 52.1)
    answer = httpx.get(world.url, trust_env=False)
    assert [place["rider_id"] for place in answer.json()["riders"]] == ["anna"]
    world.log.available = False
    answer = httpx.get(world.url, trust_env=False, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (503, "read_model_unavailable")


def test_a_log_that_comes_back_is_followed_again(world: LiveWorld) -> None:
    world.log.available = False
    with event_stream(world.url) as stream:
        assert stream.take(1)[0].data["riders"] == []
        world.places.put("anna", 1, 52.1)
        world.log.available = True
        assert until_rider(stream, "anna", 1)


def test_two_pages_share_one_feed(world: LiveWorld) -> None:
    world.places.put("anna", 0, 52.0)
    with event_stream(world.url) as one, event_stream(world.url) as two:
        assert [stream.take(1)[0].kind for stream in (one, two)] == ["snapshot"] * 2
        world.places.put("anna", 1, 52.1)
        world.log.ping("anna")
        assert until_rider(one, "anna", 1) == until_rider(two, "anna", 1)


def test_a_city_with_more_open_orders_than_the_map_shows_the_newest(world: LiveWorld) -> None:
    """Given as many placed orders as fit and newer ones of other stages, when a page comes, then it has the newest."""
    for number in range(MAX_ORDERS):
        world.orders.put(f"placed-{number}", "placed", number, placed_at_ms=number)
    world.orders.put("assigned", "assigned", MAX_ORDERS, placed_at_ms=MAX_ORDERS)
    world.orders.put("picked", "picked_up", MAX_ORDERS + 1, placed_at_ms=MAX_ORDERS + 1)
    answer = httpx.get(world.url, trust_env=False, timeout=30)
    found = [order["order_id"] for order in answer.json()["orders"]]
    assert found == [*(f"placed-{number}" for number in range(2, MAX_ORDERS)), "assigned", "picked"]


def test_riders_that_lag_keep_no_other_rider_from_moving(world: LiveWorld) -> None:
    """Given more lagging riders than one turn reads, when another is folded, then the page gets its place."""
    world.log.ping(*(f"behind-{number}" for number in range(MAX_READ_KEYS + 1)))
    with event_stream(world.url) as stream:
        assert stream.take(1)[0].kind == "snapshot"
        world.log.ping(*(f"behind-{number}" for number in range(MAX_READ_KEYS + 1)))
        world.log.ping("anna")
        position = len(world.log.events)
        world.places.put("anna", position, 52.1)
        assert until_rider(stream, "anna", position)["latitude"] == 52.1


def test_an_order_whose_end_was_dropped_leaves_the_map_by_a_new_snapshot() -> None:
    """Given more waiting orders than are kept, when the end of a dropped one is folded, then it leaves every page."""
    world = LiveWorld()
    world.orders.put("order-1", "picked_up", 0)
    with world.serving(max_pending=3), event_stream(world.url) as stream:
        assert [order["order_id"] for order in stream.take(1)[0].data["orders"]] == ["order-1"]
        world.log.append("Delivery", "order-1", "DeliveryCompleted")
        for number in range(3):
            world.log.append("Delivery", f"not-folded-{number}", "DeliveryPlaced")
        assert stream.take(1)[0].kind == "snapshot"
        world.orders.put("order-1", "completed", 1)
        world.log.append("Delivery", "not-folded-3", "DeliveryPlaced")
        last = stream.take(1)[0]
        while last.kind != "snapshot" or last.data["orders"]:
            last = stream.take(1)[0]


def test_an_order_that_ended_before_the_page_came_leaves_the_map_when_that_is_folded(world: LiveWorld) -> None:
    """Given an end that is in the log and not yet in the read model, when a page comes, then it gets the end too."""
    world.orders.put("order-1", "picked_up", 0)
    world.log.append("Delivery", "order-1", "DeliveryCompleted")
    with event_stream(world.url) as stream:
        assert [order["status"] for order in stream.take(1)[0].data["orders"]] == ["picked_up"]
        world.orders.put("order-1", "completed", 1)
        assert [order["status"] for order in stream.take(1)[0].data["orders"]] == ["completed"]


def test_a_log_that_was_restored_is_followed_from_its_new_events(world: LiveWorld) -> None:
    """Given a rider that waits for a lost ping, when the log is restored and grows, then a page gets the new place."""
    world.log.ping("anna", "anna", "anna")
    world.places.put("anna", 1, 52.1)
    with event_stream(world.url) as stream:
        assert until_rider(stream, "anna", 1)
        world.log.restore(1)
        world.log.ping("anna")
        world.places.put("anna", 2, 52.2)
        assert until_rider(stream, "anna", 2)["latitude"] == 52.2


def test_the_bytes_of_a_message_are_those_of_the_contract(world: LiveWorld) -> None:
    world.places.put("anna", 1, 52.1)
    body = httpx.get(world.url, trust_env=False).text
    place = '{"rider_id":"anna","latitude":52.1,"longitude":13.4,"event_timestamp_ms":1790000000001,"position":1}'
    assert body.partition(",")[2] == f'"riders":[{place}],"orders":[]' + "}"


def test_a_damaged_state_takes_no_other_rider_off_the_map(world: LiveWorld) -> None:
    world.places.put("anna", 1, 52.1)
    world.places.damage("ben")
    with event_stream(world.url) as stream:
        (first,) = stream.take(1)
    assert [place["rider_id"] for place in first.data["riders"]] == ["anna"]


def test_a_rider_that_moves_in_each_turn_is_sent_in_every_other_one_and_the_rest_at_once() -> None:
    """Given pings of anna before each turn and one of ben, when turns pass, then no turn waits for ben's place."""
    places, turns = PlacesInMemory(), 6
    feed = LiveFeed(cast("Any", None), places, OrdersInMemory())

    async def sent() -> list[dict[str, int]]:
        found = []
        for turn in range(1, turns + 1):
            moving = {"anna": turn} | ({"ben": turn} if turn == 4 else {})
            for rider in moving:
                places.put(rider, turn, 52.0)
            feed._pending_riders.note(moving)
            before = feed.everything().number
            await feed._turn()
            bodies = [frame.body.partition(b"data: ")[2] for frame in feed.since(before) or []]
            riders = [rider for body in bodies for rider in json.loads(body)["riders"]]
            found.append({rider["rider_id"]: rider["position"] for rider in riders})
        return found

    assert asyncio.run(sent()) == [{"anna": 1}, {}, {"anna": 3}, {"ben": 4}, {"anna": 5}, {}]


def test_a_page_that_falls_behind_gets_everything_again() -> None:
    feed = LiveFeed(cast("Any", None), PlacesInMemory(), OrdersInMemory())

    async def fall_behind() -> tuple[Any, Any, Any]:
        for _ in range(MAX_KEPT_FRAMES + 5):
            feed._emit("changes", [], [])
        return feed.since(0), feed.since(5), feed.since(MAX_KEPT_FRAMES + 5)

    behind, near, current = asyncio.run(fall_behind())
    assert behind is None
    assert len(near) == MAX_KEPT_FRAMES
    assert current == []
