"""Rows of a small training set, and small models: deliveries whose time is known but for a fixed noise."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from domain.features.eta.facts import OrderFacts
from domain.features.eta.features import EtaFeatures
from domain.features.eta.packaged import packaged_baseline
from domain.features.eta.way import Ride, Way
from infrastructure.training_sets.eta_rows import COLUMNS, FEATURE_COLUMNS, WAY_COLUMNS, way_columns

DAY_MS = 86_400_000
START_MS = 1_700_006_400_000
"""2023-11-15 00:00 UTC."""

FEATURES = EtaFeatures(
    "to_customer", None, 1_500.0, 900.0, 0.8, 12.5, 2, 4.0, 240.0, 0.0, 60.0, 1, 3, 1_500.0, -60.0, ()
)
WAY = Way(None, Ride(900.0, 0, 240.0, 0), 240.0, 900.0)


def eta_rows(orders: int, answers: int = 2, seed: int = 1, *, promised: bool = True) -> Iterator[dict[str, Any]]:
    """Rows of orders that are placed over ten days. A longer promise means a longer delivery, with some noise."""
    random, baseline = Random(seed), packaged_baseline()
    for number in range(orders):
        placed_ms = START_MS + number * 10 * DAY_MS // orders
        metres = random.uniform(300.0, 4_000.0)
        promise = random.randrange(1_200, 3_600)
        whole_s = 0.7 * promise * random.uniform(0.8, 1.25) + (metres / 8.0)
        for answer in range(answers):
            since_s = 30.0 + 60.0 * answer
            features = FEATURES._replace(
                rider_to_customer_m=metres, elapsed_in_leg_s=since_s, local_time_of_day_h=float(number % 24)
            )
            way = WAY._replace(to_customer=Ride(metres, 0, 240.0, 0), since_placed_s=since_s)
            quantiles = baseline.predict(features, way)
            completed_ms = placed_ms + round(1_000 * whole_s)
            at_ms = placed_ms + round(1_000 * since_s)
            row = dict.fromkeys(COLUMNS)
            row |= dict(zip(FEATURE_COLUMNS, features, strict=True)) | dict(
                zip(WAY_COLUMNS, way_columns(way), strict=True)
            )
            row |= {
                "order_id": f"order-{number:05}",
                "at_ms": at_ms,
                "position": number,
                "source": "rule",
                "promised_seconds": promise if promised else None,
                "items": number % 4,
                "city": "Berlin" if number % 2 else "Bonn",
                "time_zone": "Europe/Berlin",
                "placed_at_ms": placed_ms,
                "restaurant_latitude": 52.5,
                "restaurant_longitude": 13.4,
                "customer_latitude": 52.51,
                "customer_longitude": 13.41,
                "baseline_p50_s": quantiles.p50_s,
                "baseline_p90_s": quantiles.p90_s,
                "outcome": "completed",
                "censored": False,
                "label_s": (completed_ms - at_ms) / 1_000.0,
                "label_event_ms": completed_ms,
                "label_known_ms": completed_ms,
                "label_position": number,
            }
            yield row


def facts(**fields: Any) -> OrderFacts:
    known = OrderFacts(1_200.0, 1_800, 2, "Berlin", "Europe/Berlin", (52.5, 13.4), (52.51, 13.41))
    return known._replace(**fields)
