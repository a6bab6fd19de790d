"""Effects of restaurants: shrunk means of what is left to explain, by the orders that had ended before."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.eta_places import Effects, made_orders, rows_of
from domain.features.eta.learned.inputs import NUMBER_OF, RESTAURANT_EFFECT
from domain.features.eta.packaged import PATH, packaged_baseline
from domain.features.outcomes.sums import place_id
from infrastructure.eta_models.model_files import MANIFEST, ModelManifest, ModelUnavailable, load
from infrastructure.training_sets.eta_rows import features_of, way_of
from infrastructure.training_sets.evaluate_eta import answers_of, evaluate
from infrastructure.training_sets.model_rows import facts_of, model_rows
from infrastructure.training_sets.place_effects import (
    OrderResiduals,
    chosen_half_at,
    effects_at,
    order_residuals,
    table_at,
)
from infrastructure.training_sets.train_eta import TrainedEta, TrainingOptions, train

BASELINE, TEXT = packaged_baseline(), PATH.read_bytes()
EFFECT = NUMBER_OF[RESTAURANT_EFFECT]
OPTIONS = TrainingOptions("places", max_rounds=25, leave_out=False)

ends = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 3), st.floats(-1.0, 1.0).map(lambda one: round(one, 3))), max_size=40
)
"""When the end was known, place, residual."""


def orders_of(found: list[tuple[int, int, float]]) -> OrderResiduals:
    known, places, residual = np.array(sorted(found), dtype=np.float64).reshape(len(found), 3).T
    return OrderResiduals(known.astype(np.int64), places.astype(np.int64), residual)


@given(ends, st.integers(0, 3), st.integers(0, 51), st.sampled_from([3.0, 50.0]))
def test_an_effect_is_the_shrunk_mean_of_the_orders_that_had_ended_before(
    found: list[tuple[int, int, float]], place: int, at_ms: int, half_at: float
) -> None:
    known = [residual for known_ms, _, residual in found if known_ms < at_ms]
    mine = [residual for known_ms, of, residual in found if of == place and known_ms < at_ms]
    expected = 0.0
    if len(mine) >= 2:
        expected = len(mine) / (len(mine) + half_at) * (sum(mine) / len(mine) - sum(known) / len(known))
    effect = effects_at(orders_of(found), np.array([place]), np.array([at_ms]), half_at)[0]
    assert effect == pytest.approx(expected, abs=2e-6)


@given(ends, ends, st.integers(0, 51))
def test_no_order_that_ends_at_an_instant_or_later_changes_an_effect_at_it(
    found: list[tuple[int, int, float]], later: list[tuple[int, int, float]], at_ms: int
) -> None:
    every, instants = np.arange(4), np.full(4, at_ms)
    changed = [(max(known_ms, at_ms), place, residual) for known_ms, place, residual in later]
    before = effects_at(orders_of(found), every, instants, 6.0)
    assert effects_at(orders_of([*found, *changed]), every, instants, 6.0) == pytest.approx(before, abs=2e-6)


@given(ends)
def test_the_table_has_the_effects_by_all_orders(found: list[tuple[int, int, float]]) -> None:
    table = table_at(orders_of(found), ["a", "b", "c", "d"], 1_000, 6.0)
    effects = effects_at(orders_of(found), np.arange(4), np.full(4, 1_000), 6.0)
    assert [table.get(name, 0.0) for name in "abcd"] == effects.tolist()
    assert 0.0 not in table.values()


def test_the_sums_do_not_depend_on_the_order_of_the_rows() -> None:
    """Ends of one instant, with residuals whose sum in floats depends on their order."""
    given = [
        {**row, "label_event_ms": 9_000_000_000_000}
        for row in rows_of(made_orders(60, 3, Effects(500.0, 0.12), seed=4), BASELINE)
    ]
    of_order = {row["order_id"]: Random(row["order_id"]).choice([1e16, 1.0, -1e16, 0.1]) for row in given}

    def residuals(rows: list[dict[str, Any]]) -> list[float]:
        table = model_rows(rows, BASELINE, None)
        residual = np.array([of_order[table.order_ids[number]] for number in table.orders])
        found: list[float] = order_residuals(table, residual, table.completed_ms).residual.tolist()
        return found

    expected = residuals(given)
    for seed in range(5):
        assert residuals(Random(seed).sample(given, len(given))) == expected


def test_places_that_come_once_have_no_effect() -> None:
    once = orders_of([(n, n, float(n % 2)) for n in range(100)])
    assert chosen_half_at(once, 50, 100) is None


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return list(rows_of(made_orders(1_200, 8, Effects(500.0, 0.12), seed=3), BASELINE))


@pytest.fixture(scope="module")
def trained(rows: list[dict[str, Any]]) -> TrainedEta:
    return train(model_rows(rows, BASELINE, None), BASELINE, TEXT, OPTIONS, {"axis": "event"})


def test_a_model_that_knows_its_restaurants_is_nearer(trained: TrainedEta, rows: list[dict[str, Any]]) -> None:
    without = TrainingOptions("without", max_rounds=25, leave_out=False, without=(RESTAURANT_EFFECT, *PLACES))
    other = train(model_rows(rows, BASELINE, None), BASELINE, TEXT, without, {"axis": "event"})
    mae_s = [evaluate(one.tested, one.test, by_order=True).all["model"].mae_s for one in (trained, other)]
    assert mae_s[0] < 0.9 * mae_s[1]
    assert not other.model.spec.places
    assert other.model.predict(*given_to(rows[0])) == other.model.predict(*given_to(moved(rows[0])))


def test_serving_gives_what_the_rows_of_a_set_give(trained: TrainedEta, rows: list[dict[str, Any]]) -> None:
    spec = trained.model.spec
    few = [*rows[-20:], moved(rows[-1])]
    judged = answers_of(trained.model, model_rows(few, BASELINE, spec.cities, spec.places))
    answers = [trained.model.predict(*given_to(row)) for row in few]
    assert [one.p50_s for one in answers] == judged.answers.p50_s.tolist()
    assert answers[-1] != answers[-2]  # the same order of a restaurant that is not in the table


def test_a_row_of_the_training_has_the_effect_without_its_own_order(
    trained: TrainedEta, rows: list[dict[str, Any]]
) -> None:
    changed = [*rows[:-1], {**rows[-1], "label_s": 9_000.0, "label_event_ms": rows[-1]["at_ms"] + 9_000_000}]
    again = train(model_rows(changed, BASELINE, None), BASELINE, TEXT, OPTIONS, {"axis": "event"})
    assert (again.test.inputs[:, EFFECT] == trained.test.inputs[:, EFFECT]).all()
    # All rows of the test have the table of its first instant: nothing that ended in the test is in it.
    tested = trained.tested.spec.places
    expected = [tested.get(trained.test.place_ids[number], 0.0) for number in trained.test.places]
    assert trained.test.inputs[:, EFFECT].tolist() == expected


def test_the_digest_covers_the_table(trained: TrainedEta) -> None:
    manifest = msgspec.json.decode(trained.files[MANIFEST], type=ModelManifest)
    place = next(iter(manifest.spec.places))
    for places in ({**manifest.spec.places, place: 0.123}, {}):
        spec = msgspec.structs.replace(manifest.spec, places=places)
        changed = msgspec.json.encode(msgspec.structs.replace(manifest, spec=spec))
        with pytest.raises(ModelUnavailable, match="changed or damaged"):
            load({**trained.files, MANIFEST: changed})
    assert manifest.training["restaurants"]["places"] == len(manifest.spec.places) > 0


PLACES = ("restaurant_latitude", "restaurant_longitude", "customer_latitude", "customer_longitude")


def given_to(row: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return features_of(row), way_of(row), facts_of(row)


def moved(row: dict[str, Any]) -> dict[str, Any]:
    """The row of a restaurant a few metres beside, at another place."""
    found = {**row, "restaurant_latitude": row["restaurant_latitude"] + 0.0002}
    places = [place_id(one["restaurant_latitude"], one["restaurant_longitude"]) for one in (row, found)]
    assert places[0] != places[1]
    return found
