"""The first ETA of each leg is a fact of the order's stream: at most one a leg, and no stage of the delivery."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.persistence import StoredEvent

from domain.deliveries.delivery import Delivery
from domain.deliveries.events import EtaServed
from domain.deliveries.values import ETA_LEGS, MAX_CITY_SNAPSHOT, MAX_SECONDS
from domain.errors import (
    DomainError,
    IdempotencyConflict,
    InvalidOrderId,
    InvalidType,
    OutOfRange,
    TimestampTooOld,
    UnknownDelivery,
    UnreadableDelivery,
)
from domain.riders.rider import Rider
from tests.support.postgres.delivery_events import local_mapper
from tests.unit.domain.given import NOW_MS
from tests.unit.domain.given_delivery import GivenDelivery, World, a_step, an_eta, an_order

PATHS = [(), ("assign",), ("assign", "pickup"), ("assign", "pickup", "complete"), ("cancel",)]


def test_the_legs_are_those_of_the_feature() -> None:
    assert {"unassigned", "to_restaurant", "at_restaurant", "to_customer", "at_customer"} == ETA_LEGS


@pytest.mark.parametrize("past", PATHS, ids="-".join)
def test_an_eta_is_recorded_in_every_status_and_changes_none(past: tuple[str, ...]) -> None:
    """It was answered, even if the order went on before it could be recorded."""
    world = World()
    for command in (an_order(), *map(a_step, past)):
        world.execute(command)
    before = world.deliveries["order-1"].snapshot(7)
    then = GivenDelivery(*past).when(an_eta("to_restaurant")).then(EtaServed)
    assert then.delivery == replace(before, version=before.version + 1)


def test_an_eta_has_the_answer_and_its_origin() -> None:
    eta = an_eta(
        "at_restaurant",
        p50_seconds=90.5,
        p90_seconds=240.25,
        city_snapshot=17,
        source_service="api",
        model_p50_seconds=80.25,
        model_p90_seconds=200.0,
    )
    (event,) = GivenDelivery("assign").when(eta).then(EtaServed).deliveries
    assert event.data() == {
        "order_id": "order-1",
        "event_timestamp_ms": NOW_MS + 2_000,
        "event_id": event.event_id,
        "leg": "at_restaurant",
        "p50_seconds": 90.5,
        "p90_seconds": 240.25,
        "model_digest": "model",
        "city_snapshot": 17,
        "model_p50_seconds": 80.25,
        "model_p90_seconds": 200.0,
        "received_timestamp_ms": NOW_MS + 2_000,
        "source_service": "api",
        "command_id": event.command_id,
        "command_digest": "",
        "caused_by": "",
    }
    assert UUID(event.command_id).version == 5


def test_only_the_first_eta_of_a_leg_is_recorded() -> None:
    given = GivenDelivery(an_eta("unassigned"), "assign", an_eta("to_restaurant"))
    given.when(an_eta("to_restaurant", after_ms=9_000, p50_seconds=1.0)).then_repeated()
    given.when(an_eta("unassigned")).then_repeated()
    given.when(an_eta("at_restaurant")).then(EtaServed)


def test_the_next_rider_on_the_same_leg_has_no_first_eta_of_his_own() -> None:
    """The events of an order stay bounded, however often it is assigned again."""
    given = GivenDelivery("assign", an_eta("to_restaurant"), "unassign", a_step("assign", rider_id="ben"))
    given.when(an_eta("to_restaurant", after_ms=9_000)).then_repeated()


def test_an_eta_makes_no_step_out_of_order_and_no_repeat() -> None:
    given = GivenDelivery("assign", an_eta("to_restaurant", after_ms=60_000))
    given.when("assign").then_repeated()
    then = given.when(a_step("pickup", after_ms=2_000)).then(Delivery.PickedUp, Rider.LegEnded, Rider.LegStarted)
    assert then.deliveries[0].data()["out_of_order"] is False


def test_an_eta_of_no_order_or_of_an_unreadable_one_is_refused() -> None:
    GivenDelivery(placed=False).when(an_eta("unassigned")).then_refused(UnknownDelivery)
    world = World()
    world.deliveries["order-1"] = Delivery.with_unreadable(Delivery.place(an_order()), "order-1", 2)
    with pytest.raises(UnreadableDelivery):
        world.execute(an_eta("unassigned"))


def test_a_key_of_an_eta_is_a_key_of_its_order() -> None:
    given = GivenDelivery(an_eta("unassigned", command_id="key-1"))
    given.when(a_step("assign", command_id="key-1")).then_refused(IdempotencyConflict)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"leg": "home"}, OutOfRange),
        ({"leg": ""}, OutOfRange),
        *(({"p50_seconds": value}, OutOfRange) for value in (-0.1, math.nan, math.inf, 300.1)),
        *(({"p90_seconds": value}, OutOfRange) for value in (119.9, math.nan, math.inf, MAX_SECONDS + 0.1)),
        *(({"city_snapshot": value}, OutOfRange) for value in (-1, MAX_CITY_SNAPSHOT + 1)),
        *(({"model_digest": text}, InvalidType) for text in ("", "x" * 129, "a\nb")),
        ({"order_id": "a/b"}, InvalidOrderId),
        ({"at_ms": 1}, TimestampTooOld),
    ],
    ids=str,
)
def test_a_value_that_no_answer_has_is_refused(fields: dict[str, Any], error: type[DomainError]) -> None:
    with pytest.raises(error):
        an_eta(**({"leg": "to_customer"} | fields)).check()


@pytest.mark.parametrize(
    "fields",
    [{"p50_seconds": 0.0, "p90_seconds": 0.0}, {"p90_seconds": float(MAX_SECONDS)}, {"city_snapshot": 2**63 - 1}],
    ids=str,
)
def test_a_value_at_the_bound_fits_the_contract(fields: dict[str, Any]) -> None:
    (event,) = GivenDelivery().when(an_eta("unassigned", **fields)).then(EtaServed).deliveries
    mapper = local_mapper()
    read: Any = mapper.to_domain_event(mapper.to_stored_event(event))
    assert read.data() == event.data()


SNAPSHOT_V1 = (
    b'{"timestamp":{"_type_":"datetime_iso","_data_":"2026-11-29T23:15:05.953732+00:00"},'
    b'"topic":"domain.deliveries.delivery:Delivery","state":{'
    b'"_created_on":{"_type_":"datetime_iso","_data_":"2026-09-21T14:13:20+00:00"},'
    b'"_modified_on":{"_type_":"datetime_iso","_data_":"2026-09-21T14:13:21+00:00"},'
    b'"order_id":"order-1","status":"picked_up","rider_id":"anna","placed_ms":1790000000000,"source_service":"unknown",'
    b'"order_fields":{"restaurant_latitude":52.51,"restaurant_longitude":13.41,"customer_latitude":52.53,'
    b'"customer_longitude":13.38,"city":"Berlin","time_zone":"Europe/Berlin","currency":"EUR",'
    b'"preparation_seconds":null,"promised_seconds":2400,"items":null},'
    b'"steps":{"assign":[1790000001000,"anna"],"pickup":[1790000001000,null]},'
    b'"keys":{"k-1":"eb0902d27bd4e47aec8e995c32a379b2","k-2":"28fba95e4c85915c5b7dfa8fc931c68f"},'
    b'"latest_step_ms":1790000001000,"is_readable":true}}'
)
"""A snapshot as the last commit before class version 2 stored it."""


def test_invariant_12_a_stored_snapshot_of_version_1_is_the_delivery_of_its_commands() -> None:
    world = World()
    placed = an_order(city="Berlin", promised_seconds=2_400, command_id="k-1")
    for command in (placed, a_step("assign", command_id="k-2"), a_step("pickup")):
        world.execute(command)
    world.collect()
    made = world.deliveries["order-1"]
    stored = StoredEvent(made.id, 3, "eventsourcing.domain:Snapshot", SNAPSHOT_V1)
    snapshot: Any = local_mapper().to_domain_event(stored)
    loaded = snapshot.mutate(None)
    assert type(loaded) is Delivery
    assert vars(loaded) == vars(made)
    world.deliveries["order-1"] = loaded
    assert [world.execute(eta) for eta in (an_eta("to_customer"), an_eta("to_customer"))] == [True, False]
