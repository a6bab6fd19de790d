"""The rows of a training set as a model sees them: inputs, what happened, and what others answered, by column."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from domain.features.eta.baseline import Baseline
from domain.features.eta.facts import OrderFacts
from domain.features.eta.learned.inputs import INPUTS, NO_PLACES, input_values
from domain.features.outcomes.sums import place_id
from infrastructure.training_sets.eta_rows import features_of, way_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_CITY: Final = INPUTS.index("city")
_COLUMNS: Final = 16
"""Of a row, beside its inputs."""
LEGS: Final = ("unassigned", "to_restaurant", "at_restaurant", "to_customer", "at_customer")


@dataclass(frozen=True)
class ModelRows:
    """Rows that have a label. Seconds, epoch milliseconds, metres; NaN where unknown.

    ``inputs``: a column for each of ``INPUTS``. ``orders`` and ``city``: numbers into ``order_ids`` and ``city_names``.
    ``distance_m``: straight metres that are still to be ridden. ``served_*``: what was answered, NaN without an answer.
    ``cities``: those of the model. ``places``: of the restaurants, numbers into ``place_ids``.
    """

    inputs: Floats
    label_s: Floats
    at_ms: Integers
    placed_ms: Integers
    completed_ms: Integers
    known_ms: Integers
    orders: Integers
    order_ids: list[str]
    leg: Integers
    hour: Floats
    distance_m: Floats
    promised_left_s: Floats
    baseline_p50_s: Floats
    baseline_p90_s: Floats
    served_p50_s: Floats
    served_p90_s: Floats
    cities: tuple[str, ...]
    city_names: list[str]
    city: Integers
    place_ids: list[str]
    places: Integers

    def of(self, chosen: NDArray[Any]) -> ModelRows:
        """The chosen rows, by mask or by index; the names stay."""
        parts = {name: value[chosen] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **parts)

    def __len__(self) -> int:
        return len(self.label_s)

    def of_own_cities(self) -> ModelRows:
        """The same rows with the cities that they have, numbered as a set of these rows alone would number them."""
        own = tuple(sorted({self.city_names[number] for number in np.unique(self.city).tolist()} - {""}))
        inputs = self.inputs.copy()
        inputs[:, _CITY] = _renumbered(self.city, self.city_names, own)
        return replace(self, inputs=inputs, cities=own)

    def with_unknown_cities(self, seen: NDArray[np.bool_]) -> ModelRows:
        """The same rows, in which a city that no ``seen`` row has is unknown, as it is to a model of those rows."""
        inputs = self.inputs.copy()
        inputs[~np.isin(self.city, self.city[seen]), _CITY] = np.nan
        return replace(self, inputs=inputs)

    def end_known_ms(self, axis: str) -> Integers:
        """When the end of each row's order became known; ``axis``: that of the set.

        An imported history was recorded after it happened: there, an end is known when it happens.
        """
        return self.completed_ms if axis == "event" else self.known_ms


def facts_of(row: Mapping[str, Any]) -> OrderFacts:
    """The facts of a row's order, as ``EtaModel.predict`` takes them."""
    promised = row["promised_seconds"]
    left = None if promised is None else (row["placed_at_ms"] + 1_000 * promised - row["at_ms"]) / 1_000.0
    places = (
        (row["restaurant_latitude"], row["restaurant_longitude"]),
        (row["customer_latitude"], row["customer_longitude"]),
    )
    return OrderFacts(left, promised, row["items"], row["city"] or "", row["time_zone"], *places)


def model_rows(
    rows: Iterable[Mapping[str, Any]],
    baseline: Baseline,
    cities: tuple[str, ...] | None,
    effects: Mapping[str, float] = NO_PLACES,
) -> ModelRows:
    """The rows that have a label. ``cities``: those of a model; None: those of the rows, by name.

    ``effects``: of a model's restaurants, by place.

    The baseline is asked again, so that the inputs are those that ``LearnedEta`` has when it serves.
    """
    # Eight bytes a value: lists of Python numbers take three times as much, 1.5 GB for a million rows.
    inputs, columns = array("d"), array("d")
    numbers: dict[str, int] = {}
    names: dict[str, int] = {}
    place_numbers: dict[str, int] = {}
    for row in rows:
        if row["censored"]:
            continue
        features, way, facts = features_of(row), way_of(row), facts_of(row)
        of_baseline = baseline.predict(features, way)
        number = numbers.setdefault(row["order_id"], len(numbers))
        city = names.setdefault(facts.city, len(names))
        place = place_id(row["restaurant_latitude"], row["restaurant_longitude"])
        inputs.extend(input_values(features, way, facts, of_baseline, names, effects))
        columns.extend(
            (
                row["label_s"],
                row["at_ms"],
                row["placed_at_ms"],
                row["label_event_ms"],
                row["label_known_ms"],
                number,
                LEGS.index(features.leg),
                _float(features.local_time_of_day_h),
                _distance_m(row),
                _float(facts.promised_left_s),
                *of_baseline,
                _float(row["served_p50_s"]),
                _float(row["served_p90_s"]),
                city,
                place_numbers.setdefault(place, len(place_numbers)),
            )
        )
    matrix = np.frombuffer(inputs).reshape(-1, len(INPUTS))
    table = np.frombuffer(columns).reshape(-1, _COLUMNS).T
    own = tuple(sorted(name for name in names if name)) if cities is None else cities
    matrix[:, _CITY] = _renumbered(table[14].astype(np.int64), list(names), own)
    at, placed, completed, known, order, leg, city, places = (table[n].astype(np.int64) for n in (*range(1, 7), 14, 15))
    hour, distance, promised, p50, p90, served_p50, served_p90 = table[7:14]
    return ModelRows(
        inputs=matrix,
        label_s=table[0],
        at_ms=at,
        placed_ms=placed,
        completed_ms=completed,
        known_ms=known,
        orders=order,
        order_ids=list(numbers),
        leg=leg,
        hour=hour,
        distance_m=distance,
        promised_left_s=promised,
        baseline_p50_s=p50,
        baseline_p90_s=p90,
        served_p50_s=served_p50,
        served_p90_s=served_p90,
        cities=own,
        city_names=list(names),
        city=city,
        place_ids=list(place_numbers),
        places=places,
    )


def _renumbered(city: Integers, names: Sequence[str], cities: tuple[str, ...]) -> Floats:
    """The numbers of a model's cities, NaN for another one. ``city``: numbers into ``names``."""
    of_name = {name: number for number, name in enumerate(cities)}
    found = np.array([float(of_name.get(name, np.nan)) for name in names] or [np.nan])
    return found[city]


def _distance_m(row: Mapping[str, Any]) -> float:
    ways = (row["to_restaurant_way_m"], row["to_customer_way_m"])
    known = [metres for metres in ways if metres is not None]
    return float(sum(known)) if known else float(row["restaurant_to_customer_m"])


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)
