"""Answers of the ETA on record, over real HTTP, Redis and Postgres: each is computed again from the log alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from domain.deliveries.commands import RecordEta
from domain.features.calibration.online import HOUR_MS
from infrastructure.postgres.served_etas import add, trim
from infrastructure.settings.settings import Settings
from infrastructure.timestamps import now_ms
from projections.core.projection import Projection
from projections.orders import ORDERS
from projections.parity.served_etas import ServedEta
from projections.replay.as_of import AsOf
from projections.replay.key_replay import KeyReplay
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from read_models.eta.answer import eta_answer
from read_models.view import body_of
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


def test_invariant_8_an_answer_on_record_is_computed_again_from_the_log(world: EtaOnServers, client: EtaClient) -> None:
    world.place("order-1", preparation_seconds=300)
    world.assign("order-1", "anna")
    world.ride("anna", -0.01)
    world.fold()
    city = world.make_city()
    sent = client.get("order-1").content
    # Everything goes on; the record alone says what was read.
    world.ride("anna", -0.005, seconds=5)
    world.pick_up("order-1")
    [record] = world.on_record
    assert record.body == sent
    assert (record.city_snapshot, record.city_digest) == (city.number, city.digest)
    assert body_of(recomputed(world, record)) == sent


def test_an_answer_is_calibrated_by_what_earlier_orders_took_and_can_be_recomputed(
    world: EtaOnServers, client: EtaClient
) -> None:
    """Twice as late as the P90 of the model, an hour and more ago: now the same answer says more."""
    then = now_ms() - 2 * HOUR_MS
    for number in range(12):
        order_id = f"before-{number}"
        world.place(order_id, city="Berlin", at_ms=then)
        world.assign(order_id, f"rider-{number}", at_ms=then)
        eta = {"p50_seconds": 600.0, "p90_seconds": 900.0, "model_p50_seconds": 600.0, "model_p90_seconds": 900.0}
        world.command(RecordEta, order_id, leg="unassigned", model_digest="m", at_ms=then, **eta)
        world.pick_up(order_id, at_ms=then + 600_000)
        world.complete(order_id, at_ms=then + 1_800_000)
    placed = world.place("order-1", city="Berlin")
    world.fold()
    model = client.eta("order-1")
    city = world.make_city()
    thresholds = city.calibration.of("unassigned", "Berlin")
    assert thresholds.p50 > 0
    assert thresholds.p90 > 1_000
    found = client.eta("order-1")
    spread_s = model["p90_seconds"] - model["p50_seconds"]
    # A clock reading later: seconds of the order's age, and of the features, differ a little.
    assert found["p50_seconds"] == pytest.approx(model["p50_seconds"] + thresholds.p50 / 1_000 * spread_s, abs=30.0)
    assert found["p90_seconds"] == pytest.approx(model["p50_seconds"] + thresholds.p90 / 1_000 * spread_s, abs=60.0)
    assert found["eta_seconds"] == round(found["p50_seconds"])
    [_, record] = world.on_record
    order = ORDERS.decode(ORDERS.encode(_state(world, ORDERS, "order-1", record.order.position)))
    assert body_of(eta_answer("order-1", order, None, (city, city.number), MODEL, record.at_ms)) == record.body
    # As of then, the city is the merge of the log itself.
    past = client.eta("order-1", position=world.backends.log.head("Delivery").position)
    assert past["positions"] == {"order": placed, "rider": None, "city_snapshot": None}
    assert past["p90_seconds"] == pytest.approx(found["p90_seconds"], abs=60.0)
    # What is on record for the next calibration is what the model said.
    world.first_etas.flush()
    [served] = [
        world.backends.decode(event.payload)
        for event in world.backends.archive.key_range("Delivery", "order-1", 0, 10, None)
        if event.event_type == "EtaServed"
    ]
    assert served["model_p50_seconds"] == pytest.approx(model["p50_seconds"], abs=30.0)
    assert served["p50_seconds"] == model["p50_seconds"]


def recomputed(world: EtaOnServers, record: ServedEta) -> dict[str, Any]:
    """The answer by the log, up to the positions on record, and by the snapshot with that number."""
    order = ORDERS.decode(ORDERS.encode(_state(world, ORDERS, record.order_id, record.order.position)))
    assert record.rider_id is not None
    assert record.rider is not None
    rider = SPEED.decode(SPEED.encode(_state(world, SPEED, record.rider_id, record.rider.position)))
    return eta_answer(record.order_id, order, rider, (world.city, record.city_snapshot), MODEL, record.at_ms)


def _state(world: EtaOnServers, projection: Projection[Any], key: str, position: int) -> Any:
    archive = world.backends.archive
    source = ReplaySource(projection, archive, world.backends.decode)
    found = KeyReplay(source).at(key, archive.horizon(AsOf.at_position(position)))
    return None if found is None else found.state


def test_answers_are_stored_with_what_they_depend_on_and_the_newest_are_kept(
    world: EtaOnServers, client: EtaClient
) -> None:
    world.place("order-1")
    world.fold(ORDERS)
    client.eta("order-1")
    world.assign("order-1", "anna")
    world.ride("anna", -0.01)
    world.fold()
    city = world.make_city()
    client.eta("order-1")
    engine = world.backends.engine
    assert add(engine, "code", {"cpu": "x"}, world.on_record) == 2
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM served_etas ORDER BY id").mappings().all()
    first, second = rows
    assert (first["rider_id"], first["rider_position"], first["city_snapshot"]) == (None, None, None)
    assert (second["rider_id"], second["city_snapshot"], second["city_digest"]) == ("anna", city.number, city.digest)
    assert (second["order_generation"], second["rider_generation"]) == (1, 1)
    assert (second["code_digest"], second["model_digest"]) == ("code", MODEL.digest)
    assert second["fingerprint"] == {"cpu": "x"}
    assert str(second["log_id"]) == str(world.backends.log.head("Rider").log_id)
    assert bytes(second["body"]) == world.on_record[1].body
    trim(engine, 1)
    with engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT id FROM served_etas").scalars().all()
    assert kept == [second["id"]]


def test_errors_are_not_on_record(world: EtaOnServers, client: EtaClient) -> None:
    client.get("no-such-order")
    world.place("order-1")
    world.cancel("order-1")
    world.fold(ORDERS)
    client.get("order-1")
    client.get("order-1", position=1)
    assert world.on_record == []
