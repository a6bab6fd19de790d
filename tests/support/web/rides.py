"""Rides that the panels of the page have something to say about: with an order, of a phone that lies, and paid."""

from __future__ import annotations

import random
import time
from typing import Any
from urllib.parse import quote

from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog


def assigned_order(city: Ridelog, order_id: str, rider: str, time_zone: str = "Europe/Madrid") -> str:
    """An order with a promise of half an hour, assigned to a rider that has sent pings. Returns its path."""
    order = {
        "order_id": order_id,
        "restaurant": {"latitude": 41.39, "longitude": 2.17},
        "customer": {"latitude": 41.40, "longitude": 2.18},
        "time_zone": time_zone,
        "currency": "EUR",
        "promised_seconds": 1800,
    }
    assert city.http.post("/deliveries", json=order).status_code == 201
    path = f"/deliveries/{quote(order_id)}"
    assert city.http.post(f"{path}/assign", json={"rider_id": rider}).status_code == 200
    return path


def forged_ride(city: Ridelog, rider: str) -> str:
    """Pings of a phone that jumps 3 km with fixes that an app made. Returns the id of the alert."""
    chance, start_ms = random.Random(7), int(time.time() * 1000) - 120_000
    pings = [
        {
            "rider_id": rider,
            "event_timestamp_ms": start_ms + n * 5_000,
            "latitude": 52.5 + n * 0.00023 + chance.gauss(0, 1e-6),
            "longitude": 13.4 + chance.gauss(0, 1e-6) + 0.045 * (n >= 12),
            "accuracy_meters": 5 + n % 3,
            "speed_mps": 5 + n % 5 / 10,
            "is_mock": n >= 12,
        }
        for n in range(20)
    ]
    assert not city.post(pings)["rejected"]

    def alerts() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = city.http.get("/fraud/alerts", params={"rider_id": rider}).json()["items"]
        return found

    return str(eventually(alerts, within_s=60, what="an alert is raised")[0]["alert_id"])


def paid_ride(city: Ridelog, rider: str, order_id: str) -> None:
    """An order that the rider carries from its restaurant to its customer."""
    at_ms = int(time.time() * 1000) - 400_000
    order = {
        "order_id": order_id,
        "restaurant": {"latitude": 41.390, "longitude": 2.170},
        "customer": {"latitude": 41.398, "longitude": 2.170},
        "time_zone": "Europe/Madrid",
        "currency": "EUR",
        "placed_at": at_ms - 60_000,
    }
    assert city.http.post("/deliveries", json=order).status_code == 201
    steps = (("assign", at_ms), ("pickup", at_ms + 60_000), ("complete", at_ms + 300_000))
    pings = [
        {
            "rider_id": rider,
            "latitude": 41.390 + 0.008 * max(0, n - 12) / 48,
            "longitude": 2.170,
            "event_timestamp_ms": at_ms + n * 5_000,
            "accuracy_meters": 5,
        }
        for n in range(61)
    ]
    for verb, when in steps:
        body = {"at": when, **({"rider_id": rider} if verb == "assign" else {})}
        assert city.http.post(f"/deliveries/{order_id}/{verb}", json=body).status_code == 200
        if verb == "assign":
            city.post(pings)
