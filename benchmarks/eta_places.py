"""What a model gains by knowing its restaurants: made orders whose restaurants differ, python -m benchmarks.eta_places.

Each restaurant has a preparation effect of its own. The platform's promise knows distance, hour and weekday, not the
restaurant, and has an error of its own. The same orders are trained on with and without the table of places, and the
errors on the newest quarter are compared in one run. ``--effects 0`` shows that the table does no harm without effects.
``--csv FILE`` writes the orders as ``import-deliveries`` reads them. docs/training.md has the results.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from math import exp, hypot
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from benchmarks.support import report
from domain.features.eta.baseline import Baseline
from domain.features.eta.features import EtaFeatures
from domain.features.eta.packaged import PATH, packaged_baseline
from domain.features.eta.way import Way
from infrastructure.training_sets.eta_rows import COLUMNS, FEATURE_COLUMNS, WAY_COLUMNS, way_columns
from infrastructure.training_sets.evaluate_eta import evaluate
from infrastructure.training_sets.model_rows import model_rows
from infrastructure.training_sets.train_eta import TrainingOptions, train

START_MS = 1_596_240_000_000
"""2020-08-01 00:00 UTC, a Saturday."""
DAY_MS = 86_400_000
DAYS = 60
CENTRE = (60.17, 24.94)
METRES_PER_DEGREE = (111_200.0, 55_400.0)
"""North and east, at the centre's latitude."""
BUSY_H = (12.0, 18.5)
TEST_SHARE = 0.25
PLACES = ("restaurant_effect_log",)


class MadeOrder(NamedTuple):
    """One order that was made up. Times are epoch milliseconds, places WGS84 degrees."""

    order_id: str
    restaurant: tuple[float, float]
    customer: tuple[float, float]
    placed_ms: int
    completed_ms: int
    promised_s: int
    items: int


class Effects(NamedTuple):
    """Standard deviations: of the restaurants' effects in seconds; of the noise of one order, in ln."""

    restaurants_s: float
    noise_log: float


def made_orders(count: int, restaurants: int, effects: Effects, seed: int) -> list[MadeOrder]:
    """Orders by time of placement. A few restaurants have most of the orders."""
    random = Random(seed)
    places = [_near(random, CENTRE, 2_500.0) for _ in range(restaurants)]
    effect_s = [random.gauss(0.0, effects.restaurants_s) for _ in places]
    popular = [exp(random.gauss(0.0, 1.2)) for _ in places]
    found = []
    for placed_ms in sorted(_placed_ms(random) for _ in range(count)):
        number = random.choices(range(restaurants), popular)[0]
        customer = _near(random, places[number], 1_200.0)
        hour, weekday = placed_ms % DAY_MS / 3_600_000, placed_ms // DAY_MS % 7
        usual_s = 1_050.0 + 0.36 * _metres(places[number], customer)
        usual_s += 260.0 * _busy(hour) + (120.0 if weekday in {0, 1} else 0.0)
        items = min(12, 1 + int(random.expovariate(0.45)))
        true_s = max(300.0, usual_s + effect_s[number] + 25.0 * items) * exp(random.gauss(0.0, effects.noise_log))
        promised_s = 300 * round(max(900.0, usual_s + 70.0) * exp(random.gauss(0.0, 0.08)) / 300)
        completed_ms = placed_ms + round(true_s) * 1_000
        found.append(MadeOrder("", places[number], customer, placed_ms, completed_ms, promised_s, items))
    return [order._replace(order_id=f"made-{n:06}") for n, order in enumerate(found)]


def _near(random: Random, centre: tuple[float, float], sigma_m: float) -> tuple[float, float]:
    north, east = (random.gauss(0.0, sigma_m) / scale for scale in METRES_PER_DEGREE)
    return round(centre[0] + north, 4), round(centre[1] + east, 4)


def _placed_ms(random: Random) -> int:
    hour = random.gauss(random.choice(BUSY_H), 1.8) % 24.0
    return START_MS + random.randrange(DAYS) * DAY_MS + int(hour * 3_600_000)


def _busy(hour: float) -> float:
    return sum(exp(-(((hour - peak) / 1.5) ** 2)) for peak in BUSY_H)


def _metres(a: tuple[float, float], b: tuple[float, float]) -> float:
    return hypot(*((y - x) * scale for x, y, scale in zip(a, b, METRES_PER_DEGREE, strict=True)))


def rows_of(orders: Sequence[MadeOrder], baseline: Baseline) -> Iterator[dict[str, Any]]:
    """One row an order, at its placement, as ``training-set`` makes it of a history without stages and pings."""
    for number, order in enumerate(orders):
        metres = _metres(order.restaurant, order.customer)
        hour, weekday = order.placed_ms % DAY_MS / 3_600_000, (order.placed_ms // DAY_MS + 3) % 7
        features = EtaFeatures(
            "unassigned", None, metres, None, None, hour, weekday, None, None, None, 0.0, None, 0, None, None, ()
        )
        way = Way(None, None, None, 0.0)
        quantiles = baseline.predict(features, way)
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        row |= dict(zip(FEATURE_COLUMNS, features, strict=True)) | dict(zip(WAY_COLUMNS, way_columns(way), strict=True))
        yield row | {
            "order_id": order.order_id,
            "at_ms": order.placed_ms,
            "position": number,
            "source": "rule",
            "promised_seconds": order.promised_s,
            "items": order.items,
            "city": "made",
            "time_zone": "UTC",
            "placed_at_ms": order.placed_ms,
            "restaurant_latitude": order.restaurant[0],
            "restaurant_longitude": order.restaurant[1],
            "customer_latitude": order.customer[0],
            "customer_longitude": order.customer[1],
            "baseline_p50_s": quantiles.p50_s,
            "baseline_p90_s": quantiles.p90_s,
            "outcome": "completed",
            "censored": False,
            "label_s": (order.completed_ms - order.placed_ms) / 1_000.0,
            "label_event_ms": order.completed_ms,
            "label_known_ms": order.completed_ms,
            "label_position": number,
        }


def write_csv(orders: Sequence[MadeOrder], path: Path) -> None:
    """The columns of ``import-deliveries``."""
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("order_id", "restaurant", "customer", "placed_at_ms", "completed_at_ms", "promised_s", "items"))
        for one in orders:
            places = (f"{at[0]},{at[1]}" for at in (one.restaurant, one.customer))
            out.writerow((one.order_id, *places, one.placed_ms, one.completed_ms, one.promised_s, one.items))


def figures(orders: Sequence[MadeOrder]) -> dict[str, Any]:
    """The errors on the newest quarter, in seconds, of the promise and of the model with and without the table."""
    baseline, text = packaged_baseline(), PATH.read_bytes()
    cut_ms = orders[int(len(orders) * (1.0 - TEST_SHARE))].placed_ms
    training = [order for order in orders if order.completed_ms < cut_ms]
    test = [order for order in orders if order.placed_ms >= cut_ms]
    found: dict[str, Any] = {"orders trained on": len(training), "orders judged": len(test)}
    for name, without in (("with places", ()), ("without places", PLACES)):
        print(name, file=sys.stderr, flush=True)
        options = TrainingOptions(name, without=without, leave_out=False)
        model = train(model_rows(rows_of(training, baseline), baseline, None), baseline, text, options, {}).model
        rows = model_rows(rows_of(test, baseline), baseline, model.spec.cities, model.spec.places)
        judged = evaluate(model, rows, by_order=True)
        assert judged.promised is not None
        found["promise: MAE s"] = judged.promised["promise"].mae_s
        found[f"{name}: MAE s"] = judged.promised["model"].mae_s
        found[f"{name}: at most P50"] = judged.promised["model"].coverage_50
        found[f"{name}: at most P90"] = judged.promised["model"].coverage_90
        found[f"{name}: restaurants in the table"] = len(model.spec.places)
    found["MAE with places ÷ without"] = found["with places: MAE s"] / found["without places: MAE s"]
    found["MAE with places ÷ promise"] = found["with places: MAE s"] / found["promise: MAE s"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=18_000)
    parser.add_argument("--restaurants", type=int, default=350)
    parser.add_argument("--effects", type=float, default=180.0, help="standard deviation of the restaurants, seconds")
    parser.add_argument("--noise", type=float, default=0.27, help="standard deviation of one order, in ln")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--csv", type=Path, help="only write the orders")
    given = parser.parse_args()
    orders = made_orders(given.orders, given.restaurants, Effects(given.effects, given.noise), given.seed)
    if given.csv is not None:
        write_csv(orders, given.csv)
        return
    report("eta_places", figures(orders), {})


if __name__ == "__main__":
    main()
