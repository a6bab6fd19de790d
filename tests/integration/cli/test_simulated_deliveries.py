"""Commands on deliveries over real HTTP: each is recorded once, whatever the network does to requests and answers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from infrastructure.client.client import RidelogClient
from infrastructure.errors import UserError
from tests.integration.cli.test_client_commands import command
from tests.support.http.fake_api import Fault, fake_api
from tests.support.time_limits import scaled_s

ORDER = {
    "order_id": "order-1",
    "restaurant": {"latitude": 53.35, "longitude": -6.26},
    "customer": {"latitude": 53.34, "longitude": -6.25},
    "time_zone": "Europe/Dublin",
    "currency": "EUR",
}
LOST = [Fault.BUSY, Fault.DROPPED_BEFORE, Fault.DROPPED_AFTER, Fault.CUT_SHORT]


@pytest.mark.parametrize("fault", LOST)
def test_a_command_that_is_retried_is_recorded_once(fault: Fault) -> None:
    with fake_api(fault) as api, RidelogClient(api.url) as client:
        placed = client.place_order(ORDER, "key-1")
        api.faults.append(fault)
        assigned = client.delivery_command("order-1", "assign", {"at": 1, "rider_id": "anna"}, "key-2")
        again = client.delivery_command("order-1", "assign", {"at": 1, "rider_id": "anna"}, "key-2")
    assert (placed.status, placed.code) == ("placed", None)
    assert (assigned.status, assigned.code) == ("assigned", None)
    assert (again.recorded, again.status) == (False, "assigned")
    assert api.deliveries.orders["order-1"].steps == [("assign", {"at": 1, "rider_id": "anna"})]


def test_an_order_id_is_quoted_in_the_path() -> None:
    with fake_api() as api, RidelogClient(api.url) as client:
        assert client.place_order({**ORDER, "order_id": "a b?c"}, "key-1").recorded
        assert client.delivery_command("a b?c", "cancel", {}, "key-2").recorded


def test_a_refusal_by_the_domain_is_an_answer_and_no_error() -> None:
    with fake_api() as api, RidelogClient(api.url) as client:
        receipt = client.delivery_command("order-9", "pickup", {}, "key-1")
        assert (receipt.recorded, receipt.code) == (False, "unknown_delivery")
        client.place_order({**ORDER, "order_id": "order-9"}, "key-2")
        receipt = client.delivery_command("order-9", "complete", {}, "key-3")
        assert receipt.code == "wrong_status"
        assert "placed" in receipt.detail


@pytest.mark.parametrize("fault", [Fault.FORBIDDEN, Fault.BROKEN, Fault.STRANGER])
def test_another_refusal_ends_the_run(fault: Fault) -> None:
    with fake_api(fault) as api, RidelogClient(api.url) as client, pytest.raises(UserError):
        client.delivery_command("order-9", "pickup", {}, "key-1")


def test_a_simulation_sends_orders_and_writes_the_truth(tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    with fake_api() as api:
        arguments = ("--url", api.url, "--fast", "--duration", "3600", "--riders", "8", "--every", "10", "--json")
        with command(tmp_path, "simulate", *arguments, "--truth", str(truth)) as simulating:
            output, errors = simulating.communicate(timeout=scaled_s(120))
        assert simulating.returncode == 0, errors
    summary, orders = json.loads(output), api.deliveries.orders
    assert summary["orders"] == len(orders) > 8
    assert {order.status for order in orders.values()} == {"completed", "cancelled"}
    assert summary["refused_commands"] == {}
    assert summary["completed"] == sum(order.status == "completed" for order in orders.values()) > 4
    rows = list(csv.DictReader(truth.open(encoding="utf-8")))
    assert {row["order_id"] for row in rows if row["leg"] == "to_customer" and row["outcome"] == "completed"} == {
        order_id for order_id, order in orders.items() if order.status == "completed"
    }
    for row in rows:
        # What was reported is what was recorded, to the millisecond.
        reported = [body["at"] for _, body in orders[row["order_id"]].steps if "at" in body]
        assert int(row["reported_ms"]) in reported


def test_without_orders_a_simulation_sends_pings_only(tmp_path: Path) -> None:
    with fake_api() as api:
        arguments = ("--url", api.url, "--fast", "--duration", "60", "--orders", "0")
        with command(tmp_path, "simulate", *arguments) as simulating:
            output, errors = simulating.communicate(timeout=scaled_s(60))
        assert simulating.returncode == 0, errors
        assert "0 orders" in output
        assert api.pings
        assert not api.deliveries.orders


def test_a_time_zone_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with command(tmp_path, "simulate", "--time-zone", "Mars/Base", "--url", "http://127.0.0.1:1") as simulating:
        _, errors = simulating.communicate(timeout=scaled_s(60))
    assert simulating.returncode == 2
    assert "Mars/Base" in errors
