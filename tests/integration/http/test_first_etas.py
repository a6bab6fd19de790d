"""The first answer of each leg over HTTP is an event of its order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from eventsourcing.persistence import OperationalError

from domain.deliveries.batch import CommandOutcome
from domain.deliveries.commands import DeliveryCommand
from infrastructure.operations.first_etas import FirstEtas
from infrastructure.settings.settings import Settings
from tests.support.worlds.eta_on_servers import MODEL, EtaClient, EtaOnServers, eta_client, eta_on_servers


@pytest.fixture
def world(settings: Settings) -> Iterator[EtaOnServers]:
    with eta_on_servers(settings) as one:
        yield one


@pytest.fixture
def client(world: EtaOnServers) -> Iterator[EtaClient]:
    world.fold()
    with eta_client(world) as one:
        yield one


def test_the_first_answer_of_each_leg_is_an_event_of_its_order(world: EtaOnServers, client: EtaClient) -> None:
    world.place("order-1")
    world.fold()
    first = client.eta("order-1")
    client.eta("order-1")
    client.eta("order-1", position=1)  # an answer about the past was not served at that time
    world.first_etas.flush()
    served = world.backends.log.head("Delivery").position
    world.assign("order-1", "anna")
    world.ride("anna", -0.01)
    world.fold()
    city = world.make_city()
    second = client.eta("order-1")
    world.first_etas.flush()
    # Another process, which knows of none of this.
    world.first_etas = FirstEtas(world.backends.deliveries.execute)
    with eta_client(world) as another:
        another.eta("order-1")
    world.first_etas.flush()
    world.fold()

    etas = [data for event_type, data in events_of(world, "order-1") if event_type == "EtaServed"]
    assert [(data["leg"], data["city_snapshot"]) for data in etas] == [
        ("unassigned", None),
        ("to_restaurant", city.number),
    ]
    for data, answer in zip(etas, (first, second), strict=True):
        assert data["event_timestamp_ms"] == data["received_timestamp_ms"] == answer["at_ms"]
        assert (data["p50_seconds"], data["p90_seconds"]) == (answer["p50_seconds"], answer["p90_seconds"])
        assert (data["model_digest"], data["order_id"]) == (MODEL.digest, "order-1")
    # The read model passes over it: the same order, at a later position.
    third = client.eta("order-1")
    assert third["positions"]["order"] > second["positions"]["order"] > served
    assert third["features"]["elapsed_in_leg_s"] >= second["features"]["elapsed_in_leg_s"]
    shown = world.backends.deliveries.get("order-1")
    assert (shown.status, shown.version, shown.position) == ("assigned", 4, third["positions"]["order"])


def test_no_answer_waits_for_the_event_store_or_fails_with_it(world: EtaOnServers) -> None:
    def unavailable(_commands: Sequence[DeliveryCommand]) -> list[CommandOutcome]:
        raise OperationalError("no connection")

    world.place("order-1")
    world.fold()
    world.first_etas = FirstEtas(unavailable, max_waiting=1)
    with eta_client(world) as client:
        world.place("order-2")
        world.fold()
        for order_id in ("order-1", "order-2", "order-1"):
            assert client.eta(order_id)["eta_seconds"] > 0
            world.first_etas.flush()
    assert [event_type for event_type, _ in events_of(world, "order-1")] == ["DeliveryPlaced"]


def test_a_customers_link_shows_the_same_answer_and_it_is_recorded_as_any_other(
    world: EtaOnServers, client: EtaClient
) -> None:
    world.place("order-1")
    world.assign("order-1", "anna-the-rider")
    world.ride("anna-the-rider", -0.01)
    world.fold()
    shown = client.track("order-1")
    sent = client.eta("order-1")
    world.first_etas.flush()
    tracked, direct = world.on_record
    assert json.loads(tracked.body)["features"]["leg"] == json.loads(direct.body)["features"]["leg"]
    assert shown["eta"] == {name: json.loads(tracked.body)[name] for name in ("p50_seconds", "p90_seconds", "at_ms")}
    assert sent["at_ms"] == direct.at_ms
    [served] = [data for event_type, data in events_of(world, "order-1") if event_type == "EtaServed"]
    assert served["event_timestamp_ms"] == shown["eta"]["at_ms"]
    # No rider, no place, no speed.
    assert "anna" not in json.dumps(shown)
    assert not {"rider_id", "restaurant", "customer", "features", "positions"} & set(shown)
    world.cancel("order-1")
    assert client.track("order-1")["eta"] is None


def events_of(world: EtaOnServers, order_id: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Type and record of each event of the order, as the log has them."""
    with world.backends.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT event_type, payload FROM events WHERE stream = 'Delivery' AND aggregate_key = %s ORDER BY version",
            (order_id,),
        )
        return [(row.event_type, world.backends.decode(bytes(row.payload))) for row in rows]
