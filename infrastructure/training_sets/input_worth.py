"""What the inputs of a learned ETA are worth: by how much its error grows when it is trained without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from domain.features.eta.learned.inputs import INPUTS, PROMISE_INPUTS, RESTAURANT_EFFECT, SHIFT_S
from infrastructure.eta_models.batch_trees import TreeBatch
from infrastructure.training_sets.boosting import BoostingRequest, LabelledRows, boosted
from infrastructure.training_sets.model_rows import ModelRows
from infrastructure.training_sets.residual import base_of, residual_of
from infrastructure.training_sets.time_split import TimeSplit

MAX_LEAVE_OUT_ROWS: Final = 200_000
"""Bounds the time of the importance, which trains once a group of inputs."""

PROMISE: Final = "promise"
LEAVE_OUT_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    PROMISE: PROMISE_INPUTS,
    "baseline": ("baseline_log", "baseline_spread"),
    "distances and ways": (
        *("rider_to_restaurant_m", "restaurant_to_customer_m", "rider_to_customer_m"),
        *("to_restaurant_way_m", "to_customer_way_m"),
    ),
    "traffic": (
        *("traffic_index", "fleet_pace_s_per_km"),
        *("to_restaurant_way_pace_s_per_km", "to_customer_way_pace_s_per_km"),
    ),
    "hour and day": ("local_time_of_day_h", "local_day_of_week"),
    "motion of the rider": ("rider_speed_mps", "rider_pace_s_per_km", "rider_silent"),
    "leg and time in it": ("leg", "elapsed_in_leg_s", "since_placed_s", "reassigned"),
    "preparation": ("preparation_left_s",),
    "orders of the rider": (
        *("orders_of_rider", "to_restaurant_way_stops", "to_restaurant_way_pick_ups"),
        *("to_customer_way_stops", "to_customer_way_pick_ups"),
    ),
    "orders of the restaurant's cell": ("open_orders_here", "recent_duration_s", "recent_lateness_s"),
    "places": ("restaurant_latitude", "restaurant_longitude", "customer_latitude", "customer_longitude"),
    "restaurants": (RESTAURANT_EFFECT,),
    "items and city": ("items", "city"),
}


class LeftOut(NamedTuple):
    """``mae_s``: of the test part when the model is trained without the group; ``worth_s``: how much more that is."""

    group: str
    inputs: tuple[str, ...]
    mae_s: float
    worth_s: float


class InputLearning(NamedTuple):
    """How the median of the model was learned, so that only the inputs differ."""

    request: BoostingRequest
    inputs: tuple[str, ...]
    promise_weight: float


def worth_of_inputs(
    learning: InputLearning, rows: ModelRows, split: TimeSplit, on_step: Callable[[str], None]
) -> list[LeftOut]:
    """The median learned again without each group of inputs, and what that costs on the test part.

    ``on_step`` is called before each group, with its name.
    """
    chosen = np.flatnonzero(split.training)
    chosen = chosen[:: -(-len(chosen) // MAX_LEAVE_OUT_ROWS)]
    training, test = rows.of(chosen), rows.of(split.test)

    def error(names: Sequence[str], promise_weight: float) -> float:
        columns = [INPUTS.index(name) for name in names]
        inputs = np.ascontiguousarray(training.inputs[:, columns])
        trees = boosted(learning.request, LabelledRows(inputs, residual_of(training, promise_weight)))
        sums = TreeBatch(trees).sums(np.ascontiguousarray(test.inputs[:, columns]))
        return float(np.abs(np.exp(base_of(test, promise_weight) + sums) - SHIFT_S - test.label_s).mean())

    everything = error(learning.inputs, learning.promise_weight)
    found = []
    for group, members in LEAVE_OUT_GROUPS.items():
        present = tuple(name for name in members if name in learning.inputs and not _is_constant(training, name))
        if present:
            on_step(f"without {group}")
            rest = [name for name in learning.inputs if name not in present]
            mae_s = error(rest, 0.0 if group == PROMISE else learning.promise_weight)
            found.append(LeftOut(group, present, mae_s, mae_s - everything))
    return sorted(found, key=lambda one: -one.worth_s)


def _is_constant(rows: ModelRows, name: str) -> bool:
    values = rows.inputs[:, INPUTS.index(name)]
    known = values[~np.isnan(values)]
    return len(known) == 0 or (len(known) == len(values) and bool((known == known[0]).all()))
