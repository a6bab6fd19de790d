"""What restaurants have in common beyond the baseline and the promise: one effect a place, shrunk to the mean of all.

    effect = n ÷ (n + k) · (mean of the place's n orders − mean of all orders)        in ln of seconds

A row of the training has the effect as it was known at the row's instant: by the orders whose end was known before.
So the trees learn how far an effect can be trusted, and none holds its own order. The model ships the effects by all
orders. k is the number of orders at which an effect counts half, chosen on later orders; no effect is one of the
choices, so a set whose places come only once has no table.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.features.eta.learned.inputs import NUMBER_OF, RESTAURANT_EFFECT
from infrastructure.eta_models.model_files import MAX_PLACE_EFFECT, MAX_PLACES
from infrastructure.training_sets.model_rows import Floats, Integers, ModelRows
from infrastructure.training_sets.time_split import TimeSplit

HALF_AT_ORDERS: Final = (3.0, 6.0, 12.0, 25.0, 50.0, 100.0)
"""The candidates for k."""
MIN_PLACE_ORDERS: Final = 2
"""With fewer, a place says nothing: it bounds the table of a set whose places hardly come twice."""
MIN_GAIN: Final = 0.002
"""Of the error without effects: a smaller gain on the validation part is chance."""
EFFECT_DECIMALS: Final = 6


class OrderResiduals(NamedTuple):
    """One residual an order, of its earliest row, sorted by when its end was known (epoch ms).

    ``residual``: ln of what is left to explain; ``places``: numbers into the place ids of the rows.
    """

    known_ms: Integers
    places: Integers
    residual: Floats


def order_residuals(rows: ModelRows, residual: Floats, known_ms: Integers) -> OrderResiduals:
    """``known_ms``: of each row, when the end of its order was known."""
    by_time = np.lexsort((rows.leg, rows.at_ms, rows.orders))
    _, first = np.unique(rows.orders[by_time], return_index=True)
    chosen = by_time[first]
    # Ends of one instant by order id, so that sums of floats do not depend on the order of the rows: it numbers orders.
    rank = np.empty(len(rows.order_ids), dtype=np.int64)
    rank[sorted(range(len(rank)), key=rows.order_ids.__getitem__)] = np.arange(len(rank))
    chosen = chosen[np.lexsort((rank[rows.orders[chosen]], known_ms[chosen]))]
    return OrderResiduals(known_ms[chosen], rows.places[chosen], residual[chosen])


def effects_at(orders: OrderResiduals, places: Integers, at_ms: Integers, half_at: float) -> Floats:
    """The effect of each place as known before each instant; both have one value a row."""
    found = np.zeros(len(places))
    of_all = np.concatenate(([0.0], np.cumsum(orders.residual)))
    by_place = np.argsort(orders.places, kind="stable")
    rows_by_place = np.argsort(places, kind="stable")
    ordered, wanted = orders.places[by_place], places[rows_by_place]
    for place in np.unique(wanted):
        rows = rows_by_place[np.searchsorted(wanted, place) : np.searchsorted(wanted, place, side="right")]
        mine = by_place[np.searchsorted(ordered, place) : np.searchsorted(ordered, place, side="right")]
        if len(mine) < MIN_PLACE_ORDERS:
            continue
        sums = np.concatenate(([0.0], np.cumsum(orders.residual[mine])))
        count = np.searchsorted(orders.known_ms[mine], at_ms[rows])  # known before the instant, not at it
        total = np.searchsorted(orders.known_ms, at_ms[rows])
        mean = of_all[total] / np.maximum(total, 1)
        effect = (sums[count] - count * mean) / (count + half_at)
        found[rows] = np.where(count >= MIN_PLACE_ORDERS, effect, 0.0)
    rounded: Floats = found.clip(-MAX_PLACE_EFFECT, MAX_PLACE_EFFECT).round(EFFECT_DECIMALS)
    return rounded


def table_at(orders: OrderResiduals, place_ids: list[str], at_ms: int, half_at: float) -> dict[str, float]:
    """The effects of all places as known before an instant, without those that are 0. At most MAX_PLACES, the largest.

    ``at_ms`` after the last end: by all orders.
    """
    every: Integers = np.arange(len(place_ids), dtype=np.int64)
    values = effects_at(orders, every, np.full(len(place_ids), at_ms, dtype=np.int64), half_at)
    largest = sorted(every.tolist(), key=lambda number: (-abs(values[number]), place_ids[number]))[:MAX_PLACES]
    return {place_ids[number]: float(values[number]) for number in sorted(largest) if values[number] != 0.0}


def chosen_half_at(orders: OrderResiduals, training_until_ms: int, until_ms: int) -> float | None:
    """The k with the lowest error on the orders whose end was known from ``training_until_ms`` on, by those before.

    None: no effect is better than any by less than MIN_GAIN.
    """
    later = (orders.known_ms >= training_until_ms) & (orders.known_ms < until_ms)
    if not later.any():
        return None
    at_ms = np.full(int(later.sum()), training_until_ms, dtype=np.int64)
    truth, places = orders.residual[later], orders.places[later]

    def error(effects: Floats) -> float:
        left: NDArray[np.float64] = truth - effects
        return float(np.abs(left - np.median(left)).mean())

    without = error(np.zeros(len(truth)))
    errors = {half_at: error(effects_at(orders, places, at_ms, half_at)) for half_at in HALF_AT_ORDERS}
    best = min(errors, key=lambda half_at: errors[half_at])
    return best if errors[best] < without * (1.0 - MIN_GAIN) else None


class LearnedPlaces(NamedTuple):
    """``rows``: with the effects as known at each row; those of the test as known when it begins.

    ``tested``: the table by what was known when the test begins; ``shipped``: by all orders. ``half_at``: the k; None:
    there are no effects.
    """

    rows: ModelRows
    tested: dict[str, float]
    shipped: dict[str, float]
    half_at: float | None


def learn_places(rows: ModelRows, residual: Floats, known_ms: Integers, split: TimeSplit) -> LearnedPlaces:
    """``residual``: what the trees are to add. ``known_ms``: of each row, when the end of its order was known."""
    orders = order_residuals(rows, residual, known_ms)
    half_at = chosen_half_at(orders, split.validation_ms, split.test_ms)
    if half_at is None:
        return LearnedPlaces(rows, {}, {}, None)
    inputs = rows.inputs.copy()
    at_ms = np.where(split.test, np.minimum(rows.at_ms, split.test_ms), rows.at_ms)
    inputs[:, NUMBER_OF[RESTAURANT_EFFECT]] = effects_at(orders, rows.places, at_ms, half_at)
    tested = table_at(orders, rows.place_ids, split.test_ms, half_at)
    shipped = table_at(orders, rows.place_ids, int(orders.known_ms.max()) + 1, half_at)
    return LearnedPlaces(replace(rows, inputs=inputs), tested, shipped, half_at)
