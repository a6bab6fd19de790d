"""Orders over HTTP on a running ``serve``: their life, both streams, both topics, repeats, refusals and lists."""

from __future__ import annotations

import json
import threading
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.deliveries.values import Coordinates, DeliverySnapshot
from infrastructure.backends import Backends
from infrastructure.http.delivery_answers import of_row
from infrastructure.replay import parquet
from infrastructure.settings.settings import Settings
from infrastructure.timestamps import now_ms
from tests.e2e.test_openapi import filled
from tests.support.reports.openapi_description import undescribed
from tests.support.waiting import eventually
from tests.support.worlds.dispatcher import CUSTOMER, RESTAURANT, STEPS, Dispatcher, decoded, records, refusal
from tests.support.worlds.ridelog import Ridelog


@pytest.fixture
def order() -> str:
    """An order that no other test uses."""
    return f"order-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def dispatcher(ridelog: Ridelog, order: str, rider: str) -> Dispatcher:
    return Dispatcher(ridelog, order, rider)


def test_the_life_of_an_order_is_on_both_topics_and_one_s_own_command_is_always_seen(
    ridelog: Ridelog, dispatcher: Dispatcher, order: str, rider: str
) -> None:
    before_ms = now_ms()
    placed = dispatcher.place(city="Berlin", preparation_seconds=600, promised_seconds=2_400, items=3)
    assert placed.status_code == 201
    seen = placed.json()
    assert seen == {
        "order_id": order, "status": "placed", "rider_id": None, "restaurant": RESTAURANT, "customer": CUSTOMER,
        "city": "Berlin", "time_zone": "Europe/Berlin", "currency": "EUR", "placed_at_ms": seen["placed_at_ms"],
        "assigned_at_ms": None, "picked_up_at_ms": None, "arrived_at_ms": None, "completed_at_ms": None,
        "cancelled_at_ms": None, "preparation_seconds": 600, "promised_seconds": 2_400, "items": 3, "version": 1,
        "position": seen["position"],
    }  # fmt: skip
    assert before_ms <= seen["placed_at_ms"] <= now_ms()
    assert dispatcher.get() == seen
    statuses = {"assign": "assigned", "pickup": "picked_up", "arrive": "arrived", "complete": "completed"}
    for number, verb in enumerate(STEPS, start=2):
        answer = dispatcher.step(verb, at=seen["placed_at_ms"] + number * 1_000).json()
        assert answer.pop("recorded") is True
        assert (answer["status"], answer["rider_id"], answer["version"]) == (statuses[verb], rider, number)
        assert answer["position"] > seen["position"]
        seen = answer
        assert dispatcher.get() == seen
    stages = ("assigned", "picked_up", "arrived", "completed")
    assert [seen[f"{stage}_at_ms"] - seen["placed_at_ms"] for stage in stages] == [2_000, 3_000, 4_000, 5_000]

    deliveries = decoded(ridelog, records(ridelog, "deliveries", order, 5))
    assert [kind for kind, _ in deliveries] == [
        "DeliveryPlaced", "DeliveryAssigned", "DeliveryPickedUp", "DeliveryArrived", "DeliveryCompleted"
    ]  # fmt: skip
    riders = decoded(ridelog, records(ridelog, "gps-pings", rider, 5))
    legs = [(kind, data["leg"], data["order_id"]) for kind, data in riders if kind.startswith("Leg")]
    assert riders[0][0] == "RiderRegistered"
    assert legs == [
        ("LegStarted", "to_restaurant", order), ("LegEnded", "to_restaurant", order),
        ("LegStarted", "to_customer", order), ("LegEnded", "to_customer", order),
    ]  # fmt: skip
    causes = {data["event_id"] for _, data in deliveries}
    assert all(data["caused_by"] in causes for kind, data in riders if kind.startswith("Leg"))


def test_the_row_comes_to_be_the_answer_of_the_last_command(
    ridelog: Ridelog, dispatcher: Dispatcher, order: str, rider: str
) -> None:
    dispatcher.place()
    last = dispatcher.steps(*STEPS)

    def row() -> dict[str, Any] | None:
        items = ridelog.http.get("/deliveries", params={"rider_id": rider}).json()["items"]
        return items[0] if items and items[0]["version"] == 5 else None

    assert eventually(row, within_s=30, what=f"the row of {order} is folded") == last
    assert dispatcher.get() == last


def test_a_repeat_is_recognised_by_its_content_and_by_its_key(dispatcher: Dispatcher) -> None:
    first = dispatcher.place(key="place")
    assert [dispatcher.place().status_code, dispatcher.place(key="place").status_code] == [200, 200]
    assert dispatcher.place(city=None, unknown=1).json() == first.json()
    assert dispatcher.step("assign", key="a").json()["recorded"] is True
    for key in ("a", None, "b"):
        again = dispatcher.step("assign", key=key)
        assert (again.status_code, again.json()["recorded"], again.json()["version"]) == (200, False, 2)
    dispatcher.steps("unassign")
    late = dispatcher.step("assign", key="a").json()
    assert (late["recorded"], late["status"], late["rider_id"], late["version"]) == (False, "placed", None, 3)
    assert dispatcher.step("assign").json()["recorded"] is True
    dispatcher.steps("pickup", "complete")
    assert dispatcher.step("complete").json()["recorded"] is False
    assert dispatcher.get()["version"] == 6


def test_every_refusal_has_its_code_and_records_nothing(dispatcher: Dispatcher, rider: str) -> None:
    assert refusal(dispatcher.step("assign")) == (404, "unknown_delivery")
    assert dispatcher.http.get(f"/deliveries/{dispatcher.order}").status_code == 404
    dispatcher.place(items=3)
    assert refusal(dispatcher.place(items=4)) == (409, "delivery_exists")
    assert refusal(dispatcher.place(currency="USD")) == (409, "delivery_exists")
    assert refusal(dispatcher.step("pickup")) == (409, "wrong_status")
    assert "placed" in dispatcher.step("pickup").json()["detail"]
    dispatcher.step("assign", key="k")
    assert refusal(dispatcher.step("assign", key="k", rider_id=f"{rider}-2")) == (409, "idempotency_conflict")
    assert refusal(dispatcher.step("pickup", key="k")) == (409, "idempotency_conflict")
    assert refusal(dispatcher.step("assign", rider_id=f"{rider}-2")) == (409, "other_rider")
    assert refusal(dispatcher.step("complete", key="later")) == (409, "wrong_status")
    dispatcher.steps("pickup")
    assert dispatcher.step("complete", key="later").json()["recorded"] is True  # a refusal had not used up the key
    assert refusal(dispatcher.step("cancel")) == (409, "wrong_status")
    assert dispatcher.get()["version"] == 4


def test_the_checks_are_in_the_order_of_the_contract(dispatcher: Dispatcher) -> None:
    assert refusal(dispatcher.step("assign", rider_id="a/b")) == (400, "invalid_rider_id")  # before 404
    dispatcher.place(key="p")
    dispatcher.steps("assign", "pickup")
    assert refusal(dispatcher.step("unassign", key="p", at="never")) == (400, "invalid_type")  # before the key
    assert refusal(dispatcher.step("unassign", key="p")) == (409, "idempotency_conflict")  # before the status
    assert dispatcher.step("pickup", key="q").json()["recorded"] is False  # a repeat before the status


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"order_id": "a/b"}, "invalid_order_id"),
        ({"restaurant": {"latitude": 91, "longitude": 0}}, "invalid_coordinates"),
        ({"time_zone": "Berlin"}, "invalid_time_zone"),
        ({"currency": "euro"}, "invalid_currency"),
        ({"items": -1}, "out_of_range"),
        ({"items": "3"}, "invalid_type"),
        ({"placed_at": 1}, "timestamp_too_old"),
        ({"placed_at": "2099-01-01T00:00:00Z"}, "timestamp_in_future"),
    ],
)
def test_an_invalid_order_is_a_400_and_is_not_placed(
    dispatcher: Dispatcher, changes: dict[str, Any], code: str
) -> None:
    assert refusal(dispatcher.place(**changes)) == (400, code)
    assert dispatcher.http.get(f"/deliveries/{dispatcher.order}").status_code == 404


def test_a_rider_carries_twenty_orders_and_no_more(ridelog: Ridelog, order: str, rider: str) -> None:
    for number in range(20):
        one = Dispatcher(ridelog, f"{order}-{number}", rider)
        one.place()
        one.steps("assign")
    more = Dispatcher(ridelog, f"{order}-20", rider)
    more.place()
    assert refusal(more.step("assign")) == (409, "too_many_legs")
    Dispatcher(ridelog, f"{order}-3", rider).steps("pickup", "complete")
    more.steps("assign")

    def assigned() -> bool:
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            query = {"rider_id": rider, "status": "assigned", "limit": "7", **cursor}
            page = ridelog.http.get("/deliveries", params=query).json()
            found += [item["order_id"] for item in page["items"]]
            if page["next"] is None:
                return found == [f"{order}-{number}" for number in range(21) if number != 3]
            cursor = {"cursor": page["next"]}

    eventually(assigned, within_s=30, what="the list has the rider's 20 orders as they were placed")


def test_pings_and_commands_of_one_rider_at_the_same_time_are_all_recorded(
    ridelog: Ridelog, dispatcher: Dispatcher, rider: str
) -> None:
    start_ms, accepted, stop = now_ms() - 60_000, [0], threading.Event()

    def phone() -> None:
        number = 0
        with httpx.Client(base_url=ridelog.http.base_url, timeout=30.0) as client:
            while not stop.is_set():
                number += 1
                ping = {"rider_id": rider, **RESTAURANT, "event_timestamp_ms": start_ms + number}
                accepted[0] += client.post("/pings", json=ping).json()["accepted"]
        assert accepted[0] == number

    sending = threading.Thread(target=phone)
    sending.start()
    try:
        dispatcher.place()
        for _ in range(8):
            dispatcher.steps("assign", "unassign")
        last = dispatcher.steps(*STEPS)
    finally:
        stop.set()
        sending.join()
    assert (last["version"], last["status"]) == (21, "completed")
    rows = Backends(Settings(postgres_url=ridelog.info.postgres_url))
    with rows, rows.engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT event_type, count(*), max(version) FROM events WHERE aggregate_key = %s GROUP BY 1", (rider,)
        ).all()
    counts = {kind: count for kind, count, _ in found}
    assert counts == {"RiderRegistered": 1, "GpsPing": accepted[0], "LegStarted": 10, "LegEnded": 10}
    assert max(version for _, _, version in found) == sum(counts.values())


def test_any_body_is_answered_as_described(ridelog: Ridelog, dispatcher: Dispatcher) -> None:
    dispatcher.place()
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner))
    names = ("order_id", "restaurant", "currency", "rider_id", "at", "reason", "items", "expires_in_seconds")
    objects = st.dictionaries(st.sampled_from(names), values).map(lambda value: json.dumps(value).encode())
    bodies = st.binary(max_size=50) | objects
    # Of other characters the HTTP client refuses to make a header.
    keys = st.none() | st.text(
        st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=200
    )
    description = ridelog.http.get("/schema/openapi.json").json()
    paths = ["/deliveries", *(f"/deliveries/{{order_id}}/{verb}" for verb in (*STEPS, "unassign", "cancel", "link"))]

    @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from(paths), bodies, keys)
    def post(template: str, body: bytes, key: str | None) -> None:
        headers = [] if key is None else [(b"idempotency-key", key.strip().encode("latin-1"))]
        answer = ridelog.http.post(filled(template, "never-placed"), content=body, headers=headers)
        assert answer.status_code < 500, (template, body, answer.text)
        assert undescribed(description, "post", template, answer) == [], (template, body, key)

    post()


def test_status_shows_the_stage_and_nothing_waits(ridelog: Ridelog, dispatcher: Dispatcher) -> None:
    dispatcher.place()

    def nothing_waits() -> bool:
        lines = json.loads(ridelog.ask("status", "--json").stdout)["stages"]
        return [line["lag_events"] for line in lines if line["stage"] == "deliveries"] == [0]

    eventually(nothing_waits, within_s=60, what="status has a line deliveries, and nothing waits")
    shown = ridelog.http.get("/metrics").text
    assert 'ridelog_delivery_commands_total{outcome="recorded",verb="place"}' in shown
    assert 'ridelog_stage_connected{stage="deliveries"} 1.0' in shown


def test_a_rebuild_and_a_replay_of_the_table_equal_what_is_served(
    ridelog: Ridelog, dispatcher: Dispatcher, order: str, rider: str, tmp_path: Path
) -> None:
    dispatcher.place(items=3)
    dispatcher.steps("assign", "unassign", "assign", "pickup")
    position = dispatcher.steps("complete")["position"]
    outcome = json.loads(ridelog.ask("rebuild-projection", "deliveries", "--json").stdout)
    assert (outcome["verdict"], outcome["parked"]) == ("switched", [])
    served = dispatcher.get()
    (listed,) = ridelog.http.get("/deliveries", params={"rider_id": rider}).json()["items"]
    assert listed == served
    out = tmp_path / "rows.parquet"
    done = ridelog.ask("replay", "deliveries", "--position", str(position), "--out", str(out))
    assert done.returncode == 0, done.stderr
    (row,) = [row for row in parquet.read([out]) if row["order_id"] == order]
    places = {name: Coordinates(**served[name]) for name in ("restaurant", "customer")}
    assert of_row(row) == DeliverySnapshot(**served | places)
