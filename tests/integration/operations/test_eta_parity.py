"""The audit of served ETAs on real servers: what the route served, in the rounds of the monitor and on command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from domain.features.eta.packaged import packaged_baseline
from domain.identifiers import shard_of
from infrastructure.operations.city_monitor import CityMonitor
from infrastructure.operations.eta_monitor import HELD_CITIES
from infrastructure.operations.verify_eta import EtaVerifier, advice, document, lines, verify_eta
from infrastructure.postgres.city_snapshots import PostgresCitySnapshots
from infrastructure.postgres.served_etas import PostgresServedEtas, add, trim
from infrastructure.settings.settings import Settings
from infrastructure.status.collect import collect
from infrastructure.training_sets.manifest import numeric_fingerprint
from projections.core.snapshots import StateSnapshot
from projections.parity.eta_findings import EtaFindings
from projections.parity.served_etas import EtaTally, EtaVerdict, eta_code_digest
from projections.speed import SPEED
from read_models.city.snapshot import CitySnapshot
from tests.support.waiting import eventually
from tests.support.worlds.command_line import run_here
from tests.support.worlds.eta_on_servers import MODEL, EtaOnServers, eta_client, eta_on_servers

MODELS = {MODEL.digest: MODEL}


@pytest.fixture
def world(settings: Settings) -> Iterator[EtaOnServers]:
    with eta_on_servers(settings) as one:
        yield one


@pytest.fixture
def served(world: EtaOnServers) -> EtaOnServers:
    """Answers of two orders on all legs, over three snapshots of the city and before the first, all on record."""
    world.fold()
    with eta_client(world) as client:
        for order in ("one", "two"):
            world.place(order, preparation_seconds=600, promised_seconds=1_800)
        world.fold()
        ask = [partial(client.eta, "one"), partial(client.eta, "two")]
        world.ride("anna", -0.01)
        for step in (lambda: None, partial(world.assign, "one", "anna"), partial(world.pick_up, "one")):
            step()
            world.ride("anna", -0.005, seconds=20)
            world.fold()
            for one in ask:
                one()
            world.make_city()
            for one in ask:
                one()
    add(world.backends.engine, eta_code_digest(), numeric_fingerprint(), world.on_record)
    return world


def found(world: EtaOnServers) -> EtaFindings:
    return verify_eta(world.backends, 0, model_of=MODELS.get)[0]


def of(findings: EtaFindings) -> dict[str, int]:
    return {str(verdict): count for verdict, count in findings.totals.items() if count}


def on_record(world: EtaOnServers) -> EtaTally:
    return PostgresServedEtas(world.backends.engine).tally(eta_code_digest())


def change(world: EtaOnServers, statement: str, **values: Any) -> None:
    with world.backends.engine.begin() as connection:
        assert connection.execute(text(statement), values).rowcount


def test_every_served_answer_is_what_the_log_gives(served: EtaOnServers) -> None:
    progress: list[tuple[int, int]] = []
    findings, events = verify_eta(served.backends, 0, lambda *done: progress.append(done), MODELS.get)
    assert of(findings) == {"equal": 12}
    assert progress[-1] == (12, events)
    assert next(iter(lines(findings, events, 1.0))).startswith("12 served ETAs: 12 equal; ")
    assert document(findings, events, 1.0, 0)["verdicts"] == {"equal": 12} | dict.fromkeys(
        ("different", "other_code", "log_restored", "detached", "undecided"), 0
    )
    assert advice(findings, 0) == ""
    assert on_record(served) == EtaTally(12, 0, 0)
    assert of(verify_eta(served.backends, 1 << 50, model_of=MODELS.get)[0]) == {}


def test_the_command_prints_the_verdicts_and_exits_with_1_for_a_difference(
    served: EtaOnServers, postgres_url: str, tmp_path: Path
) -> None:
    def run(*options: str) -> tuple[int, str, str]:
        env = {"RIDELOG_POSTGRES_URL": postgres_url, "RIDELOG_DATA_DIR": str(tmp_path)}
        done = run_here(["verify-parity", "eta", *options], env, tmp_path)
        return done.returncode, done.stdout, done.stderr

    code, said, _ = run("--json")
    document = json.loads(said)
    # The model of the tests is none of this code's.
    assert (code, document["answers"], document["verdicts"]["other_code"]) == (0, 12, 12)
    change(served, "UPDATE served_etas SET model_digest = :digest WHERE id = 7", digest=packaged_baseline().digest)
    code, said, errors = run()
    assert (code, said.splitlines()[0].partition("; ")[0]) == (1, "12 served ETAs: 1 different, 11 other code")
    assert "p50_seconds: served " in said
    assert "1 ETAs and 0 state snapshots disagree with the log: run `verify-parity`" in errors
    assert run("--since", "2100-01-01T00:00:00Z")[1].startswith("nothing to check: no ETAs are recorded")


def test_one_byte_of_an_answer_is_found_and_red_in_status(served: EtaOnServers) -> None:
    change(served, "UPDATE served_etas SET body = set_byte(body, 40, get_byte(body, 40) # 1) WHERE id = 3")
    findings = found(served)
    assert of(findings) == {"equal": 11, "different": 1}
    assert findings.examples[0].startswith("order one: ")
    assert on_record(served) == EtaTally(12, 0, 1)
    line = next(one for one in collect(served.backends.settings).stages if one.stage == "eta parity")
    assert (line.state, line.good) == ("12 checked, 1 different, 0 unchecked", False)
    assert "rebuild-projection" in advice(findings, 1)
    # A generation that is read no longer, or other code, answers no more.
    change(served, "UPDATE served_etas SET order_generation = 9 WHERE id = 3")
    assert on_record(served).mismatches == 0


def test_a_city_with_one_shard_ahead_makes_its_answers_different(served: EtaOnServers) -> None:
    change(
        served,
        "UPDATE city_snapshots SET fences = jsonb_set(fences, ARRAY['traffic', :shard], to_jsonb("
        " (fences->'traffic'->>(CAST(:shard AS int)))::int - 1)) WHERE number = 2",
        shard=str(shard_of("anna")),
    )
    assert of(found(served)) == {"equal": 8, "different": 4}


def test_a_wrong_state_snapshot_is_found_on_the_way_and_replaced(world: EtaOnServers) -> None:
    world.fold()
    world.place("one")
    world.assign("one", "anna")
    for _ in range(50):
        world.ride("anna", -0.01, seconds=50)
    world.fold()
    snapshots = world.backends.snapshots(SPEED)
    kept = snapshots.latest("anna", 1 << 40)
    assert kept is not None
    event = world.backends.archive.key_range("Rider", "anna", kept.version - 1, kept.version, None)[0]
    wrong = StateSnapshot("anna", kept.version, kept.position, kept.state[:-1] + b"\x01", event.payload)
    with world.backends.engine.begin() as connection:
        connection.execute(text("UPDATE checkpoints SET verified = false, state = :state"), {"state": wrong.state})
    with eta_client(world) as client:
        client.eta("one")
    add(world.backends.engine, eta_code_digest(), numeric_fingerprint(), world.on_record)
    findings = found(world)
    assert (of(findings), findings.wrong_snapshots) == ({"equal": 1}, 1)
    assert "has been replaced" in findings.examples[0]
    assert found(world).wrong_snapshots == 0


def test_the_monitor_checks_what_names_the_snapshots_that_it_has_just_audited(
    served: EtaOnServers, settings: Settings
) -> None:
    monitor = CityMonitor(settings)

    def all_checked() -> bool:
        monitor.run_round()
        return on_record(served).unchecked == 0

    eventually(all_checked, within_s=60, what="all answers are checked")
    # The model of the tests is none of this code's.
    with served.backends.engine.connect() as connection:
        verdicts = connection.execute(text("SELECT verdict, count(*) FROM served_etas GROUP BY 1")).all()
    assert [tuple(row) for row in verdicts] == [("other code", 12)]
    monitor.stop()
    # What was not decided is decided later, by code that can.
    assert of(found(served)) == {"equal": 12}
    change(served, "UPDATE served_etas SET code_digest = 'other'")
    assert of(found(served)) == {"other code": 12}
    assert on_record(served) == EtaTally(12, 0, 0)
    with served.backends.engine.connect() as connection:
        kept = connection.execute(text("SELECT DISTINCT verdict FROM served_etas")).scalars().all()
    assert kept == ["equal"]


def test_regression_answers_of_a_backlog_of_snapshots_are_checked(world: EtaOnServers, settings: Settings) -> None:
    """One round audited any number of snapshots, and then looked for the answers of the last six alone."""
    snapshots = 3 * HELD_CITIES
    world.fold()
    world.place("one")
    world.fold()
    with eta_client(world) as client:
        for _ in range(snapshots):
            world.make_city()
            client.eta("one")
    add(world.backends.engine, eta_code_digest(), numeric_fingerprint(), world.on_record)
    monitor = CityMonitor(settings)
    audited = 0
    while audited < snapshots:
        audited += len(monitor.run_round())
    # A round that ended by its time leaves answers for the next one.
    eventually(lambda: not (monitor.run_round() or on_record(world).unchecked), within_s=60, what="all are checked")
    monitor.stop()


def test_a_round_checks_answers_of_the_given_snapshots_and_of_none(served: EtaOnServers) -> None:
    etas = PostgresServedEtas(served.backends.engine)
    assert {one.eta.city_snapshot for one in etas.unchecked_of([2], 100)} == {None, 2}
    verifier = EtaVerifier(served.backends, MODELS.get)
    checked = verifier.check(etas.unchecked_of([], 100), lambda number: None)
    assert [one.verdict for one in checked] == [EtaVerdict.EQUAL] * 2
    assert len(etas.unchecked_of([1, 2, 3], 100)) == 10


def test_an_answer_is_given_back_as_it_was(served: EtaOnServers) -> None:
    [batch] = PostgresServedEtas(served.backends.engine).scan(0, 100)
    logged = sorted(batch, key=lambda one: one.id)
    assert [one.eta for one in logged] == served.on_record
    assert {one.code_digest for one in logged} == {eta_code_digest()}
    assert [one.eta.city_snapshot for one in batch] == sorted(
        (one.eta.city_snapshot for one in batch), key=lambda number: number or 0
    )


def test_differences_stay_twice_as_long_as_other_answers(served: EtaOnServers) -> None:
    change(served, "UPDATE served_etas SET verdict = 'different' WHERE id IN (1, 8)")
    trim(served.backends.engine, 4)
    with served.backends.engine.connect() as connection:
        kept = connection.execute(text("SELECT id FROM served_etas ORDER BY id")).scalars().all()
    assert kept == [8, 9, 10, 11, 12]


def test_regression_the_record_of_a_snapshot_stays_while_an_answer_names_it(served: EtaOnServers) -> None:
    """The records of snapshots were pruned by their number alone: older answers could not be computed again."""
    change(served, "DELETE FROM served_etas WHERE city_snapshot = 2")
    cities = PostgresCitySnapshots(served.backends.engine, 1)
    cities.prune()
    assert [cities.record(number) is not None for number in (1, 2, 3)] == [True, False, True]
    assert isinstance(served.city, CitySnapshot)
