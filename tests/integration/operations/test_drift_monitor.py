"""The watch on drift, on a real Postgres: a shifted feature and a wrong model are found from what was served."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text

from domain.features.drift.reference import FeatureValue, references_of
from infrastructure.observability import metrics
from infrastructure.operations.drift_monitor import DriftMonitor
from infrastructure.operations.eta_drift import DAY_MS, MATURE_MS
from infrastructure.postgres.engine import writer_engine
from infrastructure.postgres.eta_drift import PostgresEtaDrift, spread
from infrastructure.postgres.served_etas import add
from infrastructure.settings.settings import Settings
from infrastructure.status.collect import collect
from projections.parity.served_etas import EtaPlace, ServedEta
from read_models.deliveries.tables import deliveries

DAY = 20_000 * DAY_MS
"""The start of a day in UTC."""
MODEL, OTHER = "a" * 64, "b" * 64
REFERENCE: dict[str, Sequence[FeatureValue]] = {
    "rider_speed_mps": [n / 10 for n in range(1_000)],
    "leg": ["to_customer"] * 900 + ["unassigned"] * 100,
}


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = writer_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO projection_generations (projection, generation, fold_version, fold_digest, active)"
                " VALUES ('deliveries', 1, 1, 'x', true) ON CONFLICT DO NOTHING"
            )
        )
    yield engine
    engine.dispose()


def serve(engine: Engine, order: str, at_ms: int, model: str = MODEL, **features: Any) -> None:
    """Record an answer of 600 s, with a P90 of 900 s."""
    values = {"leg": "to_customer", "rider_speed_mps": 5.0} | features
    body = {"order_id": order, "p50_seconds": 600.0, "p90_seconds": 900.0, "features": values}
    eta = ServedEta(order, EtaPlace(1, 1, 1), None, None, None, None, model, at_ms, json.dumps(body).encode())
    add(engine, "code", {}, [eta])


def complete(engine: Engine, order: str, completed_ms: int | None) -> None:
    row: dict[str, Any] = dict.fromkeys(("city", "time_zone", "currency"), "") | {"status": "completed"}
    row |= dict.fromkeys((f"{who}_{of}" for who in ("restaurant", "customer") for of in ("latitude", "longitude")), 1.0)
    row |= dict.fromkeys(("shard", "version", "position", "placed_at_ms"), 1)
    row |= {"generation": 1, "order_id": order, "completed_at_ms": completed_ms}
    with engine.begin() as connection:
        connection.execute(insert(deliveries).values(row))


def with_registry(engine: Engine, manifest: bytes) -> None:
    """Put MODEL into the registry of learned models, with this manifest."""
    with engine.begin() as connection:
        values = {"digest": MODEL, "content": manifest}
        connection.execute(
            text("INSERT INTO eta_models (digest, name, created_by) VALUES (:digest, 'a', 'test')"), values
        )
        connection.execute(text("INSERT INTO eta_model_files VALUES (:digest, 'manifest.json', :content)"), values)


def monitor(engine: Engine, now_ms: int) -> DriftMonitor:
    url = engine.url.render_as_string(hide_password=False).replace("+psycopg2", "")
    return DriftMonitor(Settings(postgres_url=url), clock=lambda: now_ms)


def gauge(metric: Any, *labels: str) -> float:
    value: float = metric.labels(*labels)._value.get()
    return value


def test_a_shifted_feature_and_the_error_by_leg_are_found(engine: Engine) -> None:
    chance = random.Random(5)
    with_registry(engine, json.dumps({"format": "x", "reference": references_of(REFERENCE)}).encode())
    for number in range(300):
        # Riders are as fast as in training; of the legs, most are unassigned now.
        leg = "unassigned" if number % 3 else "to_customer"
        serve(engine, f"o{number}", DAY + number * 1_000, leg=leg, rider_speed_mps=chance.uniform(0, 99.9))
        complete(engine, f"o{number}", DAY + number * 1_000 + (700_000 if leg == "unassigned" else 500_000))
    one = monitor(engine, DAY + DAY_MS + MATURE_MS)
    found, today = one.run_round()
    assert not today.drift
    assert not today.errors
    drift = {each.feature: each for each in found.drift}
    assert set(drift) == {"rider_speed_mps", "leg"}
    assert drift["rider_speed_mps"].psi < max(0.1, drift["rider_speed_mps"].chance_psi)
    assert drift["leg"].psi > 1.0
    assert (drift["leg"].answers, drift["leg"].orders) == (300, 300)
    errors = {each.leg: each for each in found.errors}
    assert (errors["unassigned"].mae_s, errors["unassigned"].bias_s) == (100.0, -100.0)
    assert (errors["unassigned"].p50_held, errors["unassigned"].p90_held) == (0, 200)
    assert (errors["to_customer"].bias_s, errors["to_customer"].p50_held) == (100.0, 100)
    assert gauge(metrics.ETA_FEATURE_PSI, MODEL[:12], "leg") == drift["leg"].psi
    assert gauge(metrics.ETA_MAE, MODEL[:12], "unassigned") == 100.0
    # A leg of too few orders sets nothing.
    assert math.isnan(gauge(metrics.ETA_MAE, MODEL[:12], "to_customer"))
    # The day is over and its orders too: it is not computed again.
    assert [each.day for each in one.run_round()] == [today.day]
    url = engine.url.render_as_string(hide_password=False).replace("+psycopg2", "")
    lines = {each.stage: each for each in collect(Settings(postgres_url=url)).stages}
    assert "1 shifted: leg (PSI" in lines["eta drift"].state
    assert "unassigned off by 100 s, bias -100 s, P90 held 100%" in lines["eta error"].state
    one.stop()


def test_the_baseline_has_no_training_set_and_its_error_is_known(engine: Engine) -> None:
    serve(engine, "a", DAY, model=OTHER)
    complete(engine, "a", DAY + 600_000)
    one = monitor(engine, DAY + DAY_MS)
    found = one.run_round()[0]
    assert (found.drift, found.errors[0].mae_s) == ([], 0.0)
    one.stop()


def test_a_damaged_manifest_costs_its_drift_only(engine: Engine) -> None:
    with_registry(engine, b'{"reference": {"leg": {"edges": [2, 1], "labels": [], "counts": []}}}')
    serve(engine, "a", DAY)
    complete(engine, "a", DAY + 600_000)
    one = monitor(engine, DAY + DAY_MS)
    found = one.run_round()[0]
    assert (found.drift, len(found.errors)) == ([], 1)
    one.stop()


def test_an_answer_whose_order_may_still_be_open_is_not_judged(engine: Engine) -> None:
    """Only the quick orders of the last hour are over, and the error would look small."""
    serve(engine, "quick", DAY)
    complete(engine, "quick", DAY + 60_000)
    serve(engine, "open", DAY)
    complete(engine, "open", None)
    early = monitor(engine, DAY + MATURE_MS - 1)
    assert early.run_round()[-1].errors == []
    early.stop()
    later = monitor(engine, DAY + MATURE_MS)
    assert [each.answers for each in later.run_round()[-1].errors] == [1]
    later.stop()


def test_a_model_that_no_longer_answers_leaves_no_value_behind(engine: Engine) -> None:
    for number in range(200):
        serve(engine, f"o{number}", DAY + number)
        complete(engine, f"o{number}", DAY + 600_000)
        serve(engine, f"p{number}", DAY + DAY_MS + number, model=OTHER)
        complete(engine, f"p{number}", DAY + DAY_MS + 600_000)
    now = [DAY + DAY_MS]
    url = engine.url.render_as_string(hide_password=False).replace("+psycopg2", "")
    one = DriftMonitor(Settings(postgres_url=url), clock=lambda: now[0])
    one.run_round()
    assert gauge(metrics.ETA_MAE, MODEL[:12], "to_customer") == pytest.approx(0.1, abs=0.1)
    now[0] = DAY + DAY_MS + 2 * MATURE_MS
    one.run_round()
    assert math.isnan(gauge(metrics.ETA_MAE, MODEL[:12], "to_customer"))
    assert gauge(metrics.ETA_MAE, OTHER[:12], "to_customer") < 1.0
    one.stop()


def test_a_sample_is_bounded_and_spread_over_the_day(engine: Engine) -> None:
    for number in range(50):
        serve(engine, f"o{number}", DAY + number * 1_000)
    sample = PostgresEtaDrift(engine).sample(DAY + 10_000, DAY + 40_000, 10)
    assert [(one.at_ms - DAY) // 1_000 for one in sorted(sample, key=lambda one: one.at_ms)] == list(range(10, 40, 3))
    assert len(PostgresEtaDrift(engine).sample(DAY, DAY + DAY_MS, 1_000)) == 50
    assert PostgresEtaDrift(engine).sample(DAY + DAY_MS, DAY + 2 * DAY_MS, 10) == []
    assert list(spread(5, 7, 10)) == [5, 6, 7]
