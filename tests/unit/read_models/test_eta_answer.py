"""The answer of an ETA: its form, its rounding, and what it depends on."""

from __future__ import annotations

import pytest

from domain.features.eta.features import EtaFeatures, OrderIsOver
from domain.features.orders import COMPLETED, PLACED, OrderState
from domain.features.speed.window import EMPTY, SpeedState, WindowPing
from projections.digest.digest import answer_digest
from read_models.eta.answer import NAME, eta_answer
from tests.support.worlds.eta_on_servers import MODEL

KEYS = [
    "order_id",
    "eta_seconds",
    "p50_seconds",
    "p90_seconds",
    "model",
    "features",
    "because",
    "positions",
    "at_ms",
    "age_ms",
]
NOW_MS = 1_790_000_000_000
ORDER = OrderState(
    3,
    77,
    "assigned",
    "anna",
    (52.52, 13.40),
    (52.53, 13.40),
    "Europe/Berlin",
    placed_ms=NOW_MS - 300_000,
    assigned_ms=NOW_MS - 60_000,
    latest_step_ms=NOW_MS - 60_000,
    assignments=1,
)


def rider(*ages_ms: int) -> SpeedState:
    window = [WindowPing(NOW_MS - age, f"{n:032x}", 52.51 + n / 1e4, 13.4, 5.0, None) for n, age in enumerate(ages_ms)]
    return EMPTY._replace(version=9, position=99, window=tuple(window))


def test_the_values_and_their_order() -> None:
    found = eta_answer("order-1", ORDER, rider(8_000, 3_000), (None, 5), MODEL, NOW_MS)
    assert list(found) == KEYS
    assert found["eta_seconds"] == round(found["p50_seconds"])
    assert found["model"] == {"name": MODEL.name, "digest": MODEL.digest}
    assert set(found["features"]) == set(EtaFeatures._fields) - {"because"}
    assert found["positions"] == {"order": 77, "rider": 99, "city_snapshot": 5}
    assert (found["at_ms"], found["age_ms"]) == (NOW_MS, 3_000)


@pytest.mark.parametrize("state", [None, rider()], ids=["no rider", "no ping"])
def test_age_and_position_of_the_rider_are_null_without_a_ping(state: SpeedState | None) -> None:
    found = eta_answer("order-1", ORDER, state, (None, None), MODEL, NOW_MS)
    assert (found["positions"]["rider"], found["age_ms"]) == (None, None)


def test_a_ride_that_is_longer_than_all_of_the_training_names_it() -> None:
    far = ORDER._replace(customer=(53.9, 13.4))
    assert "outside_training" in eta_answer("order-1", far, rider(3_000), (None, None), MODEL, NOW_MS)["because"]
    assert "outside_training" not in eta_answer("order-1", ORDER, rider(3_000), (None, None), MODEL, NOW_MS)["because"]


@pytest.mark.parametrize("status", ["", COMPLETED])
def test_an_order_that_is_over_has_no_eta(status: str) -> None:
    with pytest.raises(OrderIsOver):
        eta_answer("order-1", ORDER._replace(status=status), None, (None, None), MODEL, NOW_MS)


def test_the_same_inputs_give_the_same_answer() -> None:
    unassigned = ORDER._replace(status=PLACED, rider_id=None)
    once, again = (eta_answer("order-1", unassigned, None, (None, None), MODEL, NOW_MS) for _ in range(2))
    assert once == again


def test_the_code_of_an_answer_has_a_digest() -> None:
    assert len(answer_digest(NAME, eta_answer)) == 32
