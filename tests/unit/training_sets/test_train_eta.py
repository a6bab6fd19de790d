"""Training on a tiny set: better than the baseline, the same bytes again, and files that are believed only whole."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from domain.features.drift.reference import count_in, references_from
from domain.features.eta.facts import OrderFacts
from domain.features.eta.features import EtaFeatures
from domain.features.eta.learned.inputs import PROMISE_INPUTS
from domain.features.eta.packaged import PATH, packaged_baseline
from infrastructure.errors import UserError
from infrastructure.eta_models.model_files import (
    MANIFEST,
    ModelManifest,
    ModelUnavailable,
    load,
    load_folder,
    read_model_files,
)
from infrastructure.training_sets.eta_rows import features_of, way_of
from infrastructure.training_sets.eta_set import EtaSet
from infrastructure.training_sets.evaluate_eta import answers_of, evaluate
from infrastructure.training_sets.model_card import card
from infrastructure.training_sets.model_rows import facts_of, model_rows
from infrastructure.training_sets.train_eta import TrainedEta, TrainingOptions, train, write_model
from infrastructure.training_sets.trained_card import train_with_card
from tests.support.eta.model_rows import eta_rows
from tests.support.eta.stored_set import write_set

BASELINE, TEXT = packaged_baseline(), PATH.read_bytes()
OPTIONS = TrainingOptions("tiny", max_rounds=40, leave_out=False)
ORDERS = 400


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    return list(eta_rows(ORDERS))


@pytest.fixture(scope="module")
def trained(rows: list[dict[str, object]]) -> TrainedEta:
    return train(model_rows(rows, BASELINE, None), BASELINE, TEXT, OPTIONS, {"data_digest": "d"})


def test_it_learns_what_the_baseline_does_not_know(trained: TrainedEta, rows: list[dict[str, object]]) -> None:
    test = model_rows(rows, BASELINE, None).of(trained.split.test)
    found = evaluate(trained.tested, test, by_order=False)
    assert found.all["model"].mae_s < 0.6 * found.all["baseline"].mae_s
    assert found.promised is not None
    assert found.promised["model"].mae_s < found.promised["promise"].mae_s


def test_the_same_training_gives_the_same_bytes(trained: TrainedEta, rows: list[dict[str, object]]) -> None:
    again = train(model_rows(rows, BASELINE, None), BASELINE, TEXT, OPTIONS, {"data_digest": "d"})
    assert again.files == trained.files
    other = train(model_rows(rows[:-100], BASELINE, None), BASELINE, TEXT, OPTIONS, {"data_digest": "d"})
    assert other.model.digest != trained.model.digest


def test_the_manifest_has_the_distributions_that_drift_is_measured_against(
    trained: TrainedEta, rows: list[dict[str, object]]
) -> None:
    manifest = msgspec.json.decode(trained.files[MANIFEST], type=ModelManifest)
    references = references_from(manifest.reference)
    # Every feature that an answer shows, so what is served is counted in the same bins.
    assert set(references) == {name for name in EtaFeatures._fields if name != "because"}
    known = [row for row in rows if not row["censored"]]
    for name, reference in references.items():
        assert count_in(reference, [row[name] for row in known]) == reference.counts, name  # type: ignore[misc]


def test_rows_give_what_predict_gives_when_it_serves(trained: TrainedEta, rows: list[dict[str, object]]) -> None:
    few = rows[:20]
    judged = answers_of(trained.model, model_rows(few, BASELINE, trained.model.spec.cities))
    for number, row in enumerate(few):
        expected = trained.model.predict(features_of(row), way_of(row), facts_of(row))
        assert (judged.answers.p50_s[number], judged.answers.p90_s[number]) == expected  # type: ignore[index]


def test_neither_the_label_nor_its_evidence_is_an_input(rows: list[dict[str, object]]) -> None:
    given = rows[:10]
    strange = {"label_s": 1.0, "label_event_ms": 5, "label_known_ms": 6, "label_position": 7, "position": 8}
    changed = [{**row, **strange, "outcome": "cancelled", "served_p50_s": 9.0} for row in given]
    one, other = (model_rows(each, BASELINE, None).inputs for each in (given, changed))
    assert (one == other)[~np.isnan(one)].all()


def test_rows_outside_the_training_set_are_the_baselines(trained: TrainedEta, rows: list[dict[str, object]]) -> None:
    far = [{**row, "to_customer_way_m": 1e6, "rider_to_customer_m": 1e6} for row in rows[:3]]
    judged = answers_of(trained.model, model_rows(far, BASELINE, trained.model.spec.cities))
    assert judged.outside.all()
    row = far[0]
    assert judged.answers.p50_s[0] == BASELINE.predict(features_of(row), way_of(row), OrderFacts()).p50_s


def test_a_model_can_be_trained_without_the_promise(rows: list[dict[str, object]]) -> None:
    options = TrainingOptions("blind", max_rounds=10, without=PROMISE_INPUTS, leave_out=False)
    blind = train(model_rows(rows, BASELINE, None), BASELINE, TEXT, options, {}).model
    row = rows[0]
    features, way, known = features_of(row), way_of(row), facts_of(row)
    assert blind.spec.promise_weight == 0.0
    assert blind.predict(features, way, known) == blind.predict(features, way, known._replace(promised_left_s=9.0))


def test_leaving_out_names_what_is_worth_most(rows: list[dict[str, object]]) -> None:
    options = TrainingOptions("worth", max_rounds=30, leave_out=True)
    made = train(model_rows(rows, BASELINE, None), BASELINE, TEXT, options, {})
    assert made.left_out[0].group == "promise"
    assert made.left_out[0].worth_s > 0.0


def test_a_directory_is_read_back_as_the_same_model(trained: TrainedEta, tmp_path: Path) -> None:
    write_model(tmp_path / "model", trained.files)
    assert load_folder(tmp_path / "model").digest == trained.model.digest


@pytest.mark.parametrize("name", ["trees-50.json", "baseline.json", MANIFEST])
def test_a_changed_file_is_not_loaded(trained: TrainedEta, tmp_path: Path, name: str) -> None:
    files = dict(trained.files)
    changed = files[name].replace(b"1", b"2", 1)
    if name == MANIFEST:
        manifest = msgspec.json.decode(files[name], type=ModelManifest)
        spec = msgspec.structs.replace(manifest.spec, promise_weight=0.123)
        changed = msgspec.json.encode(msgspec.structs.replace(manifest, spec=spec))
    with pytest.raises(ModelUnavailable, match="changed or damaged"):
        load({**files, name: changed})


def test_a_directory_without_a_file_is_no_model(trained: TrainedEta, tmp_path: Path) -> None:
    write_model(tmp_path, trained.files)
    (tmp_path / "trees-90.json").unlink()
    with pytest.raises(UserError, match=r"trees-90\.json cannot be read"):
        read_model_files(tmp_path)


def test_the_card_shows_errors_and_holds_its_plots(trained: TrainedEta, rows: list[dict[str, object]]) -> None:
    test = model_rows(rows, BASELINE, None).of(trained.split.test)
    found, other = (evaluate(one, test, by_order=False) for one in (trained.tested, BASELINE))
    files = card(msgspec.json.decode(trained.files[MANIFEST], type=ModelManifest), found, other, trained.left_out)
    html = files["card.html"].decode()
    assert {"error-by-leg.png", "error-by-hour.png", "error-by-distance.png", "calibration.png"} < set(files)
    assert "http" not in html
    assert f"{found.all['model'].mae_s:,.1f}" in html
    assert html.count("data:image/png;base64,") == 4


def with_a_later_city(rows: list[dict[str, object]], since: int) -> list[dict[str, object]]:
    """Orders of Bonn take half as long again; from one order on, those of Berlin are of Bochum, a new city."""
    found = []
    for row in rows:
        number, label_s = int(str(row["order_id"])[-5:]), float(str(row["label_s"]))
        city = "Bonn" if number % 2 else "Bochum" if number >= since else "Berlin"
        found.append(row | {"city": city, "label_s": 1.5 * label_s if city == "Bonn" else label_s})
    return found


def test_regression_a_city_that_opens_later_changes_no_training_of_before(
    rows: list[dict[str, object]], tmp_path: Path
) -> None:
    later = with_a_later_city(rows, since=320)
    write_set(tmp_path / "grown", later)
    write_set(tmp_path / "before", [row for row in later if int(str(row["order_id"])[-5:]) < 320])
    known_by_ms = int(str(rows[2 * 300]["placed_at_ms"]))
    options = TrainingOptions("tiny", max_rounds=5, leave_out=False, known_by_ms=known_by_ms)
    made = {
        name: train_with_card(EtaSet(tmp_path / name), tmp_path / f"{name}-model", options, lambda _: None)[0]
        for name in ("grown", "before")
    }
    assert made["grown"].model.spec.cities == ("Berlin", "Bonn")
    assert made["grown"].model.digest == made["before"].model.digest


def test_regression_the_card_answers_a_city_that_opens_in_the_test_part_as_serving_would(
    rows: list[dict[str, object]],
) -> None:
    # By name Bochum is between the two cities that the model was taught, so its number is within their bounds.
    found = train(model_rows(with_a_later_city(rows, since=360), BASELINE, None), BASELINE, TEXT, OPTIONS, {})
    assert "city" in found.tested.spec.bounds
    test = found.test
    of_new_city = test.city == test.city_names.index("Bochum")
    assert 0 < of_new_city.sum() < len(test)
    assert (answers_of(found.tested, test).outside == of_new_city).all()
