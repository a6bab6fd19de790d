"""A model in shadow: answers off the path of requests, within bounds, and no error of it ends the recording."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from prometheus_client import REGISTRY

from domain.features.eta.baseline import EtaModel
from domain.features.eta.estimate import estimate
from domain.features.eta.packaged import packaged_baseline
from domain.features.eta.quantiles import EtaQuantiles
from infrastructure.eta_models.model_files import ModelBounds, load
from infrastructure.eta_models.shadow import ShadowAnswer, ShadowAnswers, ShadowQuestion, shadow_answer
from projections.core.ports import PortUnavailable
from tests.support.eta.given import NOW_MS, order
from tests.support.eta.small_models import model_files

QUICK = load(model_files("quick", 0.5))
OF_MODEL = EtaQuantiles(900.0, 1_200.0)


class Failing:
    """A model whose code has an error."""

    name, digest = "failing", "f" * 64

    def predict(self, *_: object) -> None:
        raise ZeroDivisionError

    is_outside_training = predict


def question(order_id: str = "one", model: object = QUICK) -> ShadowQuestion:
    asked: EtaModel = model  # type: ignore[assignment]
    return ShadowQuestion(order_id, order("placed"), None, None, NOW_MS, asked, "served", OF_MODEL)


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("ridelog_shadow_etas_total", {"outcome": outcome}) or 0.0


def test_it_answers_from_the_inputs_of_the_live_answer() -> None:
    found = shadow_answer(question())
    expected = estimate(order("placed"), None, None, NOW_MS, QUICK, order_id="one")
    assert found == ShadowAnswer(
        *("one", NOW_MS, "unassigned", "served", 900.0, 1_200.0),
        *(QUICK.digest, expected.p50_seconds, expected.p90_seconds, False),
    )


def test_it_says_when_an_input_is_outside_its_training_set() -> None:
    near = load(model_files("near", 0.5, restaurant_to_customer_m=ModelBounds(0.0, 1.0, unknown=False)))
    assert shadow_answer(question(model=near)).outside_training


def test_an_error_of_the_model_does_not_end_the_recording() -> None:
    written: list[ShadowAnswer] = []
    shadow, before = ShadowAnswers(written.extend), counted("failed")
    shadow(question("bad", Failing()))
    shadow(question("good"))
    shadow.flush()
    assert [answer.order_id for answer in written] == ["good"]
    assert counted("failed") == before + 1


def test_a_full_queue_drops_and_counts() -> None:
    written: list[ShadowAnswer] = []
    shadow, before = ShadowAnswers(written.extend, max_waiting=2), counted("dropped")
    for number in range(3):
        shadow(question(str(number)))
    shadow.flush()
    assert [answer.order_id for answer in written] == ["0", "1"]
    assert counted("dropped") == before + 1


def test_without_the_database_answers_are_dropped_and_later_ones_recorded() -> None:
    written: list[ShadowAnswer] = []
    unavailable = [True]

    def write(answers: Sequence[ShadowAnswer]) -> None:
        if unavailable[0]:
            raise PortUnavailable("no database")
        written.extend(answers)

    shadow, before = ShadowAnswers(write), counted("dropped")
    shadow(question("lost"))
    shadow.flush()
    assert counted("dropped") == before + 1
    unavailable[0] = False
    shadow(question("kept"))
    shadow.flush()
    assert [answer.order_id for answer in written] == ["kept"]


def test_what_waits_is_recorded_when_it_stops() -> None:
    written: list[ShadowAnswer] = []
    shadow = ShadowAnswers(written.extend)
    shadow.start()
    shadow(question())
    shadow.stop()
    assert len(written) == 1


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_small_model_multiplies_the_baseline(factor: float) -> None:
    found = estimate(order("placed"), None, None, NOW_MS, load(model_files("one", factor)), order_id="one")
    plain = estimate(order("placed"), None, None, NOW_MS, packaged_baseline(), order_id="one")
    assert found.p50_seconds == pytest.approx(factor * (plain.p50_seconds + 60.0) - 60.0, abs=0.01)
