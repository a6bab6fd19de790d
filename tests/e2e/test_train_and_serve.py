"""From an imported history to a promoted model under a running ridelog, and back to the rows of what it answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.eta_places import Effects, made_orders, write_csv
from infrastructure.postgres.engine import reader_engine
from infrastructure.training_sets.eta_set import EtaSet
from tests.support.waiting import eventually
from tests.support.worlds.command_line import run_here
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.ridelog import ridelog as running
from tests.support.worlds.served_vectors import check_served_rows

HISTORY = made_orders(600, 8, Effects(400.0, 0.15), seed=7)
ANSWERS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="module")
def trained(folder: Path) -> dict[str, Any]:
    """What ``train-eta`` prints of a model of the imported history, before ``serve`` runs for the first time."""
    write_csv(HISTORY, folder / "orders.csv")
    env = {"RIDELOG_DATA_DIR": str(folder / "data")}

    def run(*arguments: str) -> Any:
        done = run_here((*arguments, "--json"), env, folder)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert run("import-deliveries", "orders.csv", "--time-zone", "UTC")["accepted"] == len(HISTORY)
    run("training-set", "--every", "10m", "--axis", "event", "--out", "set")
    found = run("train-eta", "set", "--out", "model", "--name", "chained", "--rounds", "12", "--no-leave-out")
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def serving(folder: Path, trained: dict[str, Any]) -> Iterator[Ridelog]:
    """A ridelog that answers with that model."""
    with running(folder / "data") as one:
        promoted = one.cli("models", "promote", str(folder / "model"), "--who", "ann", "--json")
        assert promoted.returncode == 0, promoted.stderr
        assert json.loads(promoted.stdout)["serving"] == trained["model"]
        yield one


def place(serving: Ridelog, order_id: str) -> None:
    """A live order at a restaurant of the history."""
    past = HISTORY[-1]
    restaurant, customer = ({"latitude": at[0], "longitude": at[1]} for at in (past.restaurant, past.customer))
    body = {"order_id": order_id, "restaurant": restaurant, "customer": customer, "time_zone": "UTC", "currency": "EUR"}
    placed = serving.http.post("/deliveries", json={**body, "promised_seconds": past.promised_s, "items": past.items})
    assert placed.status_code == 201, placed.text


def rows_on_record(serving: Ridelog, statement: str) -> list[Any]:
    engine = reader_engine(serving.info.postgres_url)
    with engine.connect() as connection:
        found = list(connection.exec_driver_sql(statement))
    engine.dispose()
    return found


def test_answers_carry_the_digest_and_are_recomputed_and_become_rows(
    serving: Ridelog, trained: dict[str, Any], folder: Path
) -> None:
    digest = trained["model"]
    place(serving, "live-1")
    answer: dict[str, Any] = {}

    def answered() -> bool:
        found = serving.http.get("/deliveries/live-1/eta")
        answer.update(found.json())
        return found.status_code == 200 and answer["model"]["digest"] == digest

    eventually(answered, within_s=120, what="the promoted model answers")
    assert answer["model"]["name"] == "chained"
    assert not {"outside_training", "model_unavailable"} & set(answer["because"])
    for _ in range(ANSWERS):
        assert serving.http.get("/deliveries/live-1/eta").json()["model"]["digest"] == digest

    status = json.loads(serving.ask("status", "--json").stdout)
    assert status["eta_models"]["serving"]["digest"] == digest
    assert status["eta_models"]["serving"]["unavailable"] == ""
    [line] = [line for line in status["stages"] if line["stage"] == "eta model"]
    assert line["state"].startswith(f"chained {digest[:12]} since ")

    of_model = f"SELECT id FROM served_etas WHERE model_digest = '{digest}'"
    eventually(lambda: len(rows_on_record(serving, of_model)) > ANSWERS, within_s=60, what="answers are on record")
    parity = serving.cli("verify-parity", "eta", "--json", timeout_s=600)
    assert parity.returncode == 0, parity.stdout + parity.stderr
    served = serving.cli("training-set", "--out", str(folder / "served"), "--json", timeout_s=600)
    assert served.returncode == 0, served.stdout + served.stderr
    rows = [dict(row) for row in EtaSet(folder / "served").rows()]
    assert check_served_rows(rows, reader_engine(serving.info.postgres_url)) == len(rows)
    assert len([row for row in rows if row["model_digest"] == digest]) > ANSWERS


def test_regression_a_model_of_the_registry_is_not_praised_for_the_orders_that_it_knows(
    serving: Ridelog, trained: dict[str, Any], folder: Path
) -> None:
    judged = serving.cli("eval-eta", trained["model"][:12], str(folder / "set"))
    assert judged.returncode == 0, judged.stderr
    assert "are of orders from the time that the model was trained on" in judged.stderr


def test_the_drift_of_the_promoted_model_is_watched(serving: Ridelog, trained: dict[str, Any]) -> None:
    of_model = f"SELECT feature FROM eta_drift WHERE model_digest = '{trained['model']}'"
    # A round begins with the process: the next one of a running process would be ten minutes later.
    serving.kill("projections")
    eventually(lambda: bool(rows_on_record(serving, of_model)), within_s=120, what="the drift of the model is stored")
    features = {row.feature for row in rows_on_record(serving, of_model)}
    assert {"leg", "restaurant_to_customer_m", "elapsed_in_leg_s"} <= features


def test_a_roll_back_gives_the_baseline_again(serving: Ridelog) -> None:
    assert serving.cli("models", "roll-back", "--who", "ben").returncode == 0
    place(serving, "live-2")

    def answered() -> bool:
        found = serving.http.get("/deliveries/live-2/eta")
        return found.status_code == 200 and found.json()["model"]["name"] == "baseline"

    eventually(answered, within_s=60, what="the baseline answers")
    assert "baseline" in json.loads(serving.ask("status", "--json").stdout)["eta_models"]["serving"]["name"]
