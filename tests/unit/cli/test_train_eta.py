"""``train-eta`` and ``eval-eta`` on a small set on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.eta.model_rows import eta_rows
from tests.support.eta.stored_set import write_set
from tests.support.worlds.command_line import run_here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 300 orders, and the model that it trains."""
    root = tmp_path_factory.mktemp("train")
    write_set(root / "set", list(eta_rows(300)))
    done = run_here(["train-eta", "set", "--out", "model", "--rounds", "20", "--json"], {}, root)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["directory"] == "model"
    return root


def test_the_directory_names_its_set_and_has_its_card(folder: Path) -> None:
    manifest = json.loads((folder / "model" / "manifest.json").read_text())
    of_set = json.loads((folder / "set" / "manifest.json").read_text())
    assert manifest["training_set"]["data_digest"] == of_set["data_digest"]
    assert manifest["training"]["rows"]["all"] == 600
    assert manifest["evaluation"]["left_out_worth_s"]["promise"] > 0.0
    # The errors are those that would have been served, beside those of the model alone.
    errors = manifest["evaluation"]["test"]["all"]
    assert errors["model"]["coverage_50"] != errors["model, not calibrated"]["coverage_50"]
    assert {"card.html", "importance.png", "calibration.png"} < set(manifest["files"])
    card = (folder / "model" / "card.html").read_text()
    assert "Trained without it" in card
    assert of_set["data_digest"] in card


def test_any_model_is_judged_beside_the_baseline_and_the_promise(folder: Path) -> None:
    judged = run_here(["eval-eta", "model", "set", "--by-order", "--calibrate", "--json"], {}, folder)
    found = json.loads(judged.stdout)
    assert found["all"]["model"]["rows"] == 300
    assert found["all"]["model"]["mae_s"] < found["all"]["baseline"]["mae_s"]
    assert found["promised"]["model"]["mae_s"] < found["promised"]["promise"]["mae_s"]
    raw = json.loads(run_here(["eval-eta", "model", "set", "--by-order", "--json"], {}, folder).stdout)
    assert found["all"]["model, not calibrated"] == raw["all"]["model"] != found["all"]["model"]
    baseline = json.loads(run_here(["eval-eta", "baseline", "set", "--json"], {}, folder).stdout)
    assert baseline["all"]["model"] == baseline["all"]["baseline"]
    # Half of the ten days.
    later = run_here(["eval-eta", "baseline", "set", "--placed-from", "2023-11-20T00:00:00Z", "--json"], {}, folder)
    assert json.loads(later.stdout)["all"]["model"]["rows"] == 300


def test_a_model_is_judged_on_orders_that_it_was_not_trained_on(folder: Path) -> None:
    # Half of the ten days.
    then = "2023-11-20T00:00:00Z"
    train = ["train-eta", "set", "--out", "half", "--rounds", "5", "--no-leave-out", "--known-by", then]
    assert run_here(train, {}, folder).returncode == 0
    training = json.loads((folder / "half" / "manifest.json").read_text())["training"]
    assert training["rows"]["all"] < 310
    assert training["placed_until_ms"] < training["known_by_ms"] == 1_700_438_400_000
    later = run_here(["eval-eta", "half", "set", "--placed-from", then, "--json"], {}, folder)
    assert json.loads(later.stdout)["all"]["model"]["rows"] == 300
    assert later.stderr == ""
    # As a share of the orders: the instant is that of the first order that is held out.
    share = ["train-eta", "set", "--out", "share", "--rounds", "5", "--no-leave-out", "--known-by", "50%", "--json"]
    known_by_ms = json.loads(run_here(share, {}, folder).stdout)["known_by_ms"]
    assert json.loads((folder / "share" / "manifest.json").read_text())["training"]["known_by_ms"] == known_by_ms
    held_out = run_here(["eval-eta", "share", "set", "--placed-from", f"{known_by_ms}", "--json"], {}, folder)
    assert json.loads(held_out.stdout)["all"]["model"]["orders"] == 150
    every = run_here(["eval-eta", "half", "set", "--json"], {}, folder)
    assert "300 of 600 rows are of orders from the time that the model was trained on" in every.stderr


def test_a_model_is_judged_beside_another_one_on_the_same_rows(folder: Path) -> None:
    judge = ["eval-eta", "model", "set", "--by-order", "--calibrate", "--beside", "baseline"]
    found = json.loads(run_here([*judge, "--json"], {}, folder).stdout)
    beside = found["beside"]
    assert (beside["model"], beside["rows"], beside["orders"]) == ("baseline", 300, 300)
    assert beside["mae_s"] == found["all"]["model"]["mae_s"]
    other = json.loads(run_here(["eval-eta", "baseline", *judge[2:5], "--json"], {}, folder).stdout)
    assert beside["other_mae_s"] == other["all"]["model"]["mae_s"]
    assert beside["change_s"] == pytest.approx(beside["mae_s"] - beside["other_mae_s"])
    assert beside["change_s"] < -3.0 * beside["standard_error_s"]
    printed = run_here(judge, {}, folder).stdout
    assert f"change {beside['change_s']:+.1f} s, standard error {beside['standard_error_s']:.1f} s" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train-eta", "set", "--out", "model"], "is not empty"),
        (["train-eta", "nothing", "--out", "new"], "is no manifest of a training set"),
        (["eval-eta", "set", "set"], "baseline.json cannot be read"),
        (
            ["eval-eta", "baseline", "set", "--placed-from", "2100-01-01T00:00:00Z"],
            "were placed from 2023-11-15T00:00:00+00:00 to",
        ),
    ],
    ids=["a model is not overwritten", "no set", "no model", "no row"],
)
def test_what_cannot_be_done_is_one_line(folder: Path, arguments: list[str], message: str) -> None:
    done = run_here(arguments, {}, folder)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("share", ["0%", "100%", "half%", "nan%"])
def test_a_share_of_no_or_all_orders_is_refused(folder: Path, share: str) -> None:
    done = run_here(["train-eta", "set", "--out", "new", "--known-by", share], {}, folder)
    assert done.returncode == 2
    assert "between 0% and 100%" in done.stderr


def test_an_input_that_does_not_exist_is_named(folder: Path) -> None:
    done = run_here(["train-eta", "set", "--out", "new", "--without", "promise,weather"], {}, folder)
    assert done.returncode == 2
    assert "weather" in done.stderr
