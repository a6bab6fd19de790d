"""A training set of answers on record: each row has the very bytes that were served, or there is no row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from domain.features.eta.learned.model import LearnedEta, LearnedSpec
from infrastructure.eta_models.served_models import FixedModel
from infrastructure.operations.explain_eta_row import explain_row
from infrastructure.operations.training_set import Made
from infrastructure.postgres.served_etas import add
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.eta_set import EtaRule
from infrastructure.training_sets.manifest import numeric_fingerprint
from projections.parity.served_etas import eta_code_digest
from tests.support.worlds.command_line import run_here
from tests.support.worlds.eta_log import Row, make, rows_of
from tests.support.worlds.eta_on_servers import MODEL, EtaOnServers, eta_client, eta_on_servers
from tests.support.worlds.served_vectors import check_served_rows

SERVED = EtaRule("served")
OTHER = MODEL.without_hand_over()
MODELS = {MODEL.digest: MODEL, OTHER.digest: OTHER}


@pytest.fixture
def world(settings: Settings) -> Iterator[EtaOnServers]:
    """Twelve answers of one model and two of the next, over three snapshots and none; then two orders end."""
    with eta_on_servers(settings) as one:
        one.fold()
        with eta_client(one) as client:
            for order in ("one", "two", "three"):
                one.place(order, preparation_seconds=600, promised_seconds=1_800, city="Berlin", items=3)
            one.fold()
            one.ride("anna", -0.01)
            for step in (lambda: None, partial(one.assign, "one", "anna"), partial(one.pick_up, "one")):
                step()
                one.ride("anna", -0.005, seconds=20)
                one.fold()
                for order in ("one", "two"):
                    client.eta(order)
                one.make_city()
                client.eta("one")
                client.eta("three")
        with eta_client(one, models=FixedModel(OTHER)) as client:
            client.eta("two")
            client.eta("three")
        one.complete("one")
        one.cancel("two")
        add(one.backends.engine, eta_code_digest(), numeric_fingerprint(), one.on_record)
        yield one


def made_set(world: EtaOnServers, out: Path, **options: Any) -> Made:
    return make(world.backends.settings, out, SERVED, model_of=MODELS.get, **options)


def change(world: EtaOnServers, statement: str, **values: Any) -> None:
    with world.backends.engine.begin() as connection:
        assert connection.execute(text(statement), values).rowcount


def of_order(rows: list[Row], order_id: str) -> list[Row]:
    return [row for row in rows if row["order_id"] == order_id]


def test_each_row_has_the_bytes_that_were_served_and_what_then_happened(world: EtaOnServers, tmp_path: Path) -> None:
    made = made_set(world, tmp_path / "set").manifest
    rows = rows_of(tmp_path / "set")
    assert check_served_rows(rows, world.backends.engine) == made.rows == 14
    assert (made.different, made.undecided, made.censored, made.orders) == (0, {}, 8, 3)
    assert {row["source"] for row in rows} == {"served"}
    assert {row["model_digest"] for row in rows} == set(MODELS)
    completed = world.backends.deliveries.get("one")
    for row in of_order(rows, "one"):
        assert row["label_event_ms"] == completed.completed_at_ms
        assert row["label_s"] == (row["label_event_ms"] - row["at_ms"]) / 1_000
        assert row["label_known_ms"] >= row["label_event_ms"]
        assert row["label_position"] > row["position"]
        assert (row["outcome"], row["censored"]) == ("completed", False)
        facts = [row[name] for name in ("promised_seconds", "items", "preparation_seconds", "city", "time_zone")]
        assert facts == [1_800, 3, 600, "Berlin", "Europe/Berlin"]
    for order_id, outcome in (("two", "cancelled"), ("three", "open")):
        found = of_order(rows, order_id)
        assert found
        assert {(row["outcome"], row["censored"], row["label_s"]) for row in found} == {(outcome, True, None)}
    assert {row["label_position"] for row in of_order(rows, "three")} == {None}


def test_answers_that_differ_or_cannot_be_recomputed_have_no_row(world: EtaOnServers, tmp_path: Path) -> None:
    change(world, "UPDATE served_etas SET body = set_byte(body, 40, get_byte(body, 40) # 1) WHERE id = 3")
    change(world, "UPDATE served_etas SET model_digest = 'another' WHERE id = 1")
    change(world, "UPDATE served_etas SET order_generation = 9 WHERE id = 2")
    change(world, "UPDATE served_etas SET order_position = 1000000 WHERE id = 4")
    change(world, "UPDATE served_etas SET log_id = gen_random_uuid() WHERE id = 5")
    made = made_set(world, tmp_path / "set")
    assert (made.manifest.rows, made.manifest.different) == (9, 1)
    assert made.manifest.undecided == {"log restored": 2, "other code": 2}
    assert {row["served_eta_id"] for row in rows_of(tmp_path / "set")} == set(range(6, 15))
    [example] = made.examples
    assert example.startswith("order one: ")


def test_the_same_manifest_gives_the_same_bytes_after_more_answers(world: EtaOnServers, tmp_path: Path) -> None:
    first = made_set(world, tmp_path / "first").manifest
    world.cancel("three")
    add(world.backends.engine, eta_code_digest(), numeric_fingerprint(), world.on_record[:2])
    again = make(
        world.backends.settings, tmp_path / "again", first.rule, position=first.last_position, model_of=MODELS.get
    ).manifest
    assert again == first
    assert [path.read_bytes() for path in sorted((tmp_path / "again").iterdir())] == [
        path.read_bytes() for path in sorted((tmp_path / "first").iterdir())
    ]


def test_the_command_says_what_has_no_row_and_explains_a_row(
    world: EtaOnServers, postgres_url: str, tmp_path: Path
) -> None:
    def run(*options: str) -> tuple[int, str, str]:
        env = {"RIDELOG_POSTGRES_URL": postgres_url, "RIDELOG_DATA_DIR": str(tmp_path)}
        done = run_here(["training-set", *options], env, tmp_path)
        return done.returncode, done.stdout, done.stderr

    # The model of the tests is none of this code's.
    code, said, _ = run("--out", "none", "--json")
    assert (code, json.loads(said)["undecided"]) == (0, {"other code": 14})
    code, said, errors = run("--out", "none")
    assert (code, "is not empty" in errors) == (1, True)
    code, said, errors = run("--manifest", "none/manifest.json", "--out", "again")
    assert (code, said.splitlines()[1]) == (0, "without a row: 14 answers other code")
    assert "the bytes are the same as those of none/manifest.json" in errors
    code, said, _ = run("--at-events", "assigned", "--out", "assigned")
    assert (code, said.split(", from ")[0]) == (0, "assigned: 1 rows of 1 orders, 0 censored")
    made_set(world, tmp_path / "set")
    [row] = [row for row in rows_of(tmp_path / "set") if row["served_eta_id"] == 11]
    for wanted in ("11", f"{row['order_id']}:{row['at_ms']}"):
        code, said, _ = run("--out", "set", "--explain", wanted)
        assert (code, json.loads(said)["equal"]) == (0, True)
    found = json.loads(said)
    assert found["city"]["snapshot"] == row["city_snapshot"]
    assert found["order"]["events"][0]["type"] == "DeliveryPlaced"
    change(world, "DELETE FROM served_etas WHERE id = 11")
    assert "is not on record any more" in run("--out", "set", "--explain", wanted)[2]


def test_an_explanation_has_the_effect_of_the_restaurant_in_the_model_that_answered(
    world: EtaOnServers, tmp_path: Path
) -> None:
    made = made_set(world, tmp_path / "set").manifest
    [row] = [row for row in rows_of(tmp_path / "set") if row["served_eta_id"] == 11]
    place = "52.5200,13.4000"
    effects = [{place: 0.25}, {"48.0000,2.0000": 0.25}]
    learned = [LearnedEta(LearnedSpec("one", MODEL.digest, (), {}, 0.0, (), of), MODEL, ()) for of in effects]
    explained = [
        explain_row(world.backends, made, row, model_of={MODEL.digest: of}.get) for of in (*learned, MODEL, None)
    ]
    assert {(one["restaurant"]["place"], one["restaurant"]["model"]) for one in explained} == {(place, MODEL.digest)}
    assert [one["restaurant"]["effect_log"] for one in explained] == [0.25, 0.0, None, None]
    assert [one["restaurant"]["problem"] is None for one in explained] == [True, True, True, False]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--every", "30s", "--at-events", "placed"), "give one"),
        (("--every", "30"), "--every must be a duration"),
        (("--at-events", "completed"), "--at-events lists steps of an order"),
        (("--every", "30s", "--axis", "recorded"), "--axis is known, position or event"),
        (("--axis", "event"), "need a rule"),
        (("--every", "30s", "--since", "1"), "--since selects answers on record"),
        (("--manifest", "no.json"), "no manifest of a training set"),
        (("--instants", "no.csv"), "cannot be read"),
        (("--explain", "1", "--every", "30s"), "--explain reads the set"),
        (("--explain", "1"), "no manifest of a training set"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = run_here(["training-set", "--out", "out", *options], {"RIDELOG_POSTGRES_URL": "postgresql://no"}, tmp_path)
    assert done.returncode in {1, 2}
    assert said in " ".join(done.stderr.replace("│", " ").split())
