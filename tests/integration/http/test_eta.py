"""``GET /deliveries/{order_id}/eta`` over real HTTP, Redis and Postgres: its values, its errors and its evidence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from domain.features.eta.features import EtaFeatures
from domain.identifiers import shard_of
from infrastructure.redis.connection import connect_server
from infrastructure.replay.past_etas import PastEtas
from infrastructure.settings.settings import Settings
from projections.core.projection import Projection
from projections.orders import ORDERS
from projections.replay.as_of import AsOf
from projections.speed import SPEED
from read_models.redis_keys import REFOLDING_FIELD, state_key
from tests.support.worlds.eta_on_servers import MODEL, EtaClient, EtaOnServers, eta_client, eta_on_servers

KEYS = [
    "order_id",
    "eta_seconds",
    "p50_seconds",
    "p90_seconds",
    "model",
    "features",
    "because",
    "positions",
    "at_ms",
    "age_ms",
]


@pytest.fixture
def world(settings: Settings) -> Iterator[EtaOnServers]:
    with eta_on_servers(settings) as one:
        yield one


@pytest.fixture
def client(world: EtaOnServers) -> Iterator[EtaClient]:
    world.fold()
    with eta_client(world) as one:
        yield one


def test_the_way_of_an_order_until_it_is_over(world: EtaOnServers, client: EtaClient) -> None:
    placed = world.place("order-1", preparation_seconds=600)
    world.fold()
    unassigned = client.eta("order-1")
    assert list(unassigned) == KEYS
    assert list(unassigned["features"]) == [name for name in EtaFeatures._fields if name != "because"]
    assert unassigned["model"] == {"name": "baseline", "digest": MODEL.digest}
    assert unassigned["positions"] == {"order": placed, "rider": None, "city_snapshot": None}
    assert (unassigned["features"]["leg"], unassigned["age_ms"]) == ("unassigned", None)
    assert {"unassigned", "traffic_unknown", "city_stale"} <= set(unassigned["because"])

    assigned = world.assign("order-1", "anna")
    world.ride("anna", -0.01)
    world.fold()
    city = world.make_city()
    coming = client.eta("order-1")
    assert coming["features"]["leg"] == "to_restaurant"
    assert coming["features"]["rider_to_restaurant_m"] == pytest.approx(1_112, rel=0.01)
    assert coming["features"]["rider_speed_mps"] == pytest.approx(5.0, rel=0.1)
    assert coming["features"]["orders_of_rider"] == 1
    assert coming["positions"]["order"] == assigned
    assert coming["positions"]["rider"] == world.backends.log.head("Rider").position
    assert coming["positions"]["city_snapshot"] == city.number
    assert 0 <= coming["age_ms"] < 60_000
    assert coming["eta_seconds"] == round(coming["p50_seconds"])
    assert 0 < coming["p50_seconds"] <= coming["p90_seconds"]

    world.pick_up("order-1")
    world.ride("anna", 0.009, seconds=5)
    world.fold()
    near = client.eta("order-1")
    assert near["features"]["leg"] == "to_customer"
    assert near["features"]["rider_to_restaurant_m"] is None
    assert near["eta_seconds"] < coming["eta_seconds"]

    world.complete("order-1")
    world.fold(ORDERS)
    over = client.get("order-1")
    assert (over.status_code, over.json()["code"]) == (409, "delivery_over")


def test_an_answer_takes_two_round_trips_to_redis(world: EtaOnServers, client: EtaClient) -> None:
    world.place("order-1")
    world.assign("order-1", "anna")
    world.ride("anna", -0.01)
    world.fold()
    client.eta("order-1")
    before = client.reads.count
    client.eta("order-1")
    assert client.reads.count - before == 2


def test_stacked_orders_name_it(world: EtaOnServers, client: EtaClient) -> None:
    for order_id in ("order-1", "order-2"):
        world.place(order_id)
        world.assign(order_id, "anna")
    world.ride("anna", -0.01)
    world.fold()
    found = client.eta("order-2")
    assert found["features"]["orders_of_rider"] == 2
    assert "stacked" in found["because"]


def test_a_rider_that_is_not_served_yet_is_unknown(world: EtaOnServers, client: EtaClient) -> None:
    world.place("order-1")
    world.assign("order-1", "later")
    world.fold(ORDERS)
    found = client.eta("order-1")
    assert (found["positions"]["rider"], found["age_ms"]) == (None, None)
    assert {"rider_silent", "speed_unknown"} <= set(found["because"])
    assert found["eta_seconds"] > 0


def test_a_cancelled_order_is_over(world: EtaOnServers, client: EtaClient) -> None:
    world.place("order-1")
    world.cancel("order-1")
    world.fold(ORDERS)
    answer = client.get("order-1")
    assert (answer.status_code, answer.json()["code"]) == (409, "delivery_over")


def test_an_order_that_nothing_is_known_of(world: EtaOnServers, client: EtaClient) -> None:
    for query in ({}, {"position": 0}):
        answer = client.get("no-such-order", **query)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_delivery"), query


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"at": "2026-09-21T12:00:00Z", "axis": "event"}, "unsupported_axis"),
        ({"axis": "event"}, "unsupported_axis"),
        ({"axis": "happened", "at": "0"}, "invalid_axis"),
        ({"position": "-1"}, "invalid_request"),
        ({"position": "1", "at": "0"}, "invalid_request"),
        ({"position": "1000000"}, "unknown_position"),
        ({"at": "yesterday"}, "invalid_time"),
    ],
)
def test_a_past_that_is_none(client: EtaClient, query: dict[str, str], code: str) -> None:
    answer = client.get("order-1", **query)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_past_answer_is_that_of_its_position(world: EtaOnServers, client: EtaClient) -> None:
    placed = world.place("order-1")
    for number in range(4):
        world.ride(f"rider-{number}", 0.005, seconds=300)
    assigned = world.assign("order-1", "anna")
    world.ride("anna", -0.01)
    known = world.backends.log.head("Rider").position
    world.pick_up("order-1")
    world.complete("order-1")
    head = world.backends.log.head("Delivery").position

    first, second, third = (client.eta("order-1", position=at) for at in (placed, assigned, known))
    assert [one["features"]["leg"] for one in (first, second, third)] == [
        "unassigned",
        "to_restaurant",
        "to_restaurant",
    ]
    assert [one["positions"]["city_snapshot"] for one in (first, second, third)] == [None] * 3
    assert (first["features"]["open_orders_here"], first["positions"]["order"]) == (1, placed)
    assert (second["positions"]["rider"], second["age_ms"]) == (None, None)
    assert third["positions"] == {"order": assigned, "rider": known, "city_snapshot": None}
    # The city of then: no rider had moved before the first position.
    assert "traffic_unknown" in first["because"]
    assert client.get("order-1", position=placed - 1).status_code == 404
    over = client.get("order-1", position=head)
    assert (over.status_code, over.json()["code"]) == (409, "delivery_over")
    assert over.headers["ridelog-position"] == str(head)
    assert client.get("order-1", position=known).content == client.get("order-1", position=known).content


def test_invariant_15_a_log_that_is_too_long_for_one_request_is_refused(world: EtaOnServers) -> None:
    position = world.place("order-1")
    world.ride("anna", 0.0)
    known = world.backends.log.head("Rider").position
    with eta_client(world, max_events=position) as client:
        assert client.eta("order-1", position=position)["features"]["leg"] == "unassigned"
        answer = client.get("order-1", position=known)
    assert (answer.status_code, answer.json()["code"]) == (422, "replay_too_long")


@pytest.mark.parametrize("projection", [ORDERS, SPEED], ids=lambda projection: projection.name)
def test_a_state_that_is_missing_while_its_shard_is_refolded_is_no_404(
    world: EtaOnServers, client: EtaClient, redis_url: str, projection: Projection[Any]
) -> None:
    world.place("order-1")
    world.assign("order-1", "anna")
    world.fold(ORDERS)
    key = "order-1" if projection is ORDERS else "anna"
    with connect_server(redis_url) as cache:
        place = state_key(projection.name, 1, shard_of(key))
        cache.hset(place, REFOLDING_FIELD, b"1")
        cache.hdel(place, key)
    answer = client.get("order-1")
    assert (answer.status_code, answer.json()["code"]) == (503, "read_model_unavailable")
    assert answer.headers["retry-after"] == "1"


def test_a_refold_is_named_while_the_states_of_before_are_served(
    world: EtaOnServers, client: EtaClient, redis_url: str
) -> None:
    world.place("order-1")
    world.fold(ORDERS)
    assert "ridelog-refolding" not in client.get("order-1").headers
    with connect_server(redis_url) as cache:
        cache.hset(state_key(ORDERS.name, 1, shard_of("order-1")), REFOLDING_FIELD, b"1")
    assert client.get("order-1").headers["ridelog-refolding"] == "true"


def test_without_redis_it_is_unavailable(world: EtaOnServers, redis_url: str) -> None:
    world.place("order-1")
    world.fold()
    with ExitStack() as stack:
        client = stack.enter_context(eta_client(world))
        client.eta("order-1")
        # Commands of this user are rejected from now on, as those of a server that is loading its data.
        admin = stack.enter_context(connect_server(redis_url))
        admin.acl_setuser("default", enabled=True, categories=["-@all"], commands=["+acl", "+info"])
        try:
            answer = client.get("order-1")
        finally:
            admin.acl_setuser("default", enabled=True, categories=["+@all"])
    assert (answer.status_code, answer.json()["code"]) == (503, "read_model_unavailable")


def test_the_target_decides_the_arrival(world: EtaOnServers, client: EtaClient) -> None:
    world.place("order-1")
    world.assign("order-1", "anna")
    world.ride("anna", 0.0, seconds=30, mps=0.0)
    world.fold()
    found = client.eta("order-1")
    assert found["features"]["leg"] == "at_restaurant"
    assert found["features"]["rider_to_restaurant_m"] == pytest.approx(0.0, abs=1.0)


def test_the_past_is_read_without_the_read_models(world: EtaOnServers) -> None:
    position = world.place("order-1")
    past = PastEtas(world.backends.engine, world.backends.decode, 1_000).at("order-1", AsOf.at_position(position))
    assert past.order is not None
    assert past.order.position == position
