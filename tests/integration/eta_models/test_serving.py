"""Models of the registry over real HTTP: promoted, rolled back, in shadow, damaged; each answer names its model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from domain.features.eta.packaged import packaged_baseline
from domain.features.eta.stand_in import StandIn
from infrastructure.errors import UserError
from infrastructure.eta_models.model_files import ModelBounds, load
from infrastructure.eta_models.registry import ModelAction, ModelRegistry, ModelRoles
from infrastructure.eta_models.served_models import LoadedModels, ServedModels
from infrastructure.eta_models.shadow_table import ShadowTable
from infrastructure.operations.verify_eta import verify_eta
from infrastructure.postgres.served_etas import add
from infrastructure.settings.settings import Settings
from infrastructure.timestamps import now_ms
from infrastructure.training_sets.manifest import numeric_fingerprint
from projections.deliveries import DELIVERIES
from projections.parity.served_etas import EtaVerdict, eta_code_digest
from tests.support.eta.small_models import digest_in, model_files
from tests.support.worlds.eta_on_servers import EtaClient, EtaOnServers, eta_client, eta_on_servers

SLOW, QUICK = model_files("slow", 2.0), model_files("quick", 0.5)
BASELINE = packaged_baseline()


@pytest.fixture
def world(settings: Settings) -> Iterator[EtaOnServers]:
    with eta_on_servers(settings) as one:
        one.place("one", preparation_seconds=600, promised_seconds=1_800)
        one.fold()
        yield one


@pytest.fixture
def registry(world: EtaOnServers) -> ModelRegistry:
    return ModelRegistry(world.backends.engine)


@pytest.fixture
def models(registry: ModelRegistry) -> ServedModels:
    """Not started: a test polls."""
    return ServedModels(registry, LoadedModels(registry))


@pytest.fixture
def client(world: EtaOnServers, models: ServedModels) -> Iterator[EtaClient]:
    with eta_client(world, models=models) as one:
        yield one


def test_a_promotion_and_its_roll_back_are_taken_over_without_a_restart(
    client: EtaClient, registry: ModelRegistry, models: ServedModels, world: EtaOnServers
) -> None:
    models.poll()
    before = client.eta("one")
    assert before["model"] == {"name": "baseline", "digest": BASELINE.digest}
    slow = registry.add(SLOW, "ann")
    registry.promote(slow, "ann")
    models.poll()
    after = client.eta("one")
    assert after["model"] == {"name": "slow", "digest": slow}
    assert after["p50_seconds"] == pytest.approx(2.0 * (before["p50_seconds"] + 60.0) - 60.0, abs=100.0)
    registry.promote(registry.add(QUICK, "ben"), "ben")
    models.poll()
    assert client.eta("one")["model"]["name"] == "quick"
    for name in ("slow", "baseline"):
        registry.roll_back("ann")
        models.poll()
        assert client.eta("one")["model"]["name"] == name
    with pytest.raises(UserError, match="no promotion is left"):
        registry.roll_back("ann")
    # Each answer is recomputed with the very model that gave it.
    add(world.backends.engine, eta_code_digest(), numeric_fingerprint(), world.on_record)
    findings, _ = verify_eta(world.backends, 0)
    assert {verdict: count for verdict, count in findings.totals.items() if count} == {EtaVerdict.EQUAL: 5}
    served = registry.served_etas()
    assert {entry.name: served[entry.digest] for entry in registry.entries()} == {"slow": 2, "quick": 1}


def test_regression_a_roll_back_ends_the_shadow_of_the_model_that_serves_again(registry: ModelRegistry) -> None:
    """As a promotion does: each answer was computed twice by one model, and compared with itself."""
    slow, quick = registry.add(SLOW, "ann"), registry.add(QUICK, "ann")
    registry.promote(slow, "ann")
    registry.promote(quick, "ann")
    registry.shadow(slow, "ann")
    assert registry.roll_back("ann") == ModelRoles(slow, None)


def test_the_history_says_who_changed_what(registry: ModelRegistry) -> None:
    slow, quick = registry.add(SLOW, "ann"), registry.add(QUICK, "ann")
    registry.promote(slow, "ann")
    registry.shadow(quick, "ben")
    registry.promote(quick, "cat")
    registry.roll_back("dan")
    assert [(one.changed_by, one.action, *one.roles) for one in registry.changes()] == [
        ("ann", ModelAction.PROMOTE, slow, None),
        ("ben", ModelAction.SHADOW, slow, quick),
        ("cat", ModelAction.PROMOTE, quick, None),
        ("dan", ModelAction.ROLL_BACK, slow, None),
    ]
    with pytest.raises(UserError, match="serves already"):
        registry.promote(slow, "ann")
    with pytest.raises(UserError, match="name another one"):
        registry.shadow(slow, "ann")


def test_a_model_is_stored_once_and_found_by_the_start_of_its_digest(registry: ModelRegistry) -> None:
    assert registry.add(SLOW, "ann") == registry.add(SLOW, "ben") == digest_in(SLOW)
    assert [entry.created_by for entry in registry.entries()] == ["ann"]
    assert registry.digest_starting(digest_in(SLOW)[:8]) == digest_in(SLOW)
    registry.add(QUICK, "ann")
    for start in ("", "no such digest"):
        with pytest.raises(UserError, match="digest that starts with"):
            registry.digest_starting(start)


def test_a_model_that_cannot_be_loaded_has_the_baseline_in_its_place(
    client: EtaClient, registry: ModelRegistry, models: ServedModels, world: EtaOnServers
) -> None:
    registry.promote(registry.add(SLOW, "ann"), "ann")
    with world.backends.engine.begin() as connection:
        connection.execute(
            text("UPDATE eta_model_files SET content = content || ' '::bytea WHERE name = 'trees-50.json'")
        )
    models.poll()
    damaged = client.eta("one")
    assert "model_unavailable" in damaged["because"]
    assert REGISTRY.get_sample_value("ridelog_eta_model_unavailable") == 1.0
    assert damaged["model"] == {"name": "baseline", "digest": StandIn(BASELINE).digest}
    # It is loaded as soon as that is possible.
    with world.backends.engine.begin() as connection:
        connection.execute(
            text("UPDATE eta_model_files SET content = :content WHERE name = 'trees-50.json'"),
            {"content": SLOW["trees-50.json"]},
        )
    models.poll()
    repaired = client.eta("one")
    assert (repaired["model"]["name"], "model_unavailable" in repaired["because"]) == ("slow", False)
    assert REGISTRY.get_sample_value("ridelog_eta_model_unavailable") == 0.0
    add(world.backends.engine, eta_code_digest(), numeric_fingerprint(), world.on_record)
    findings, _ = verify_eta(world.backends, 0)
    assert findings.totals[EtaVerdict.EQUAL] == 2


def test_an_input_outside_the_training_set_is_answered_by_the_baseline(
    client: EtaClient, registry: ModelRegistry, models: ServedModels
) -> None:
    near = model_files("near", 2.0, restaurant_to_customer_m=ModelBounds(0.0, 10.0, unknown=False))
    models.poll()
    before = client.eta("one")
    registry.promote(registry.add(near, "ann"), "ann")
    models.poll()
    found = client.eta("one")
    assert "outside_training" in found["because"]
    assert found["model"]["name"] == "near"
    assert found["p50_seconds"] == pytest.approx(before["p50_seconds"], abs=100.0)


def test_the_past_is_answered_by_the_model_that_served_then(
    client: EtaClient, registry: ModelRegistry, models: ServedModels
) -> None:
    before_ms = now_ms()
    registry.promote(registry.add(SLOW, "ann"), "ann")
    models.poll()
    assert client.eta("one", at=before_ms)["model"]["name"] == "baseline"
    assert client.eta("one", at=now_ms())["model"]["name"] == "slow"


def test_a_shadow_answers_beside_the_serving_model_and_is_compared_with_what_happened(
    client: EtaClient, registry: ModelRegistry, models: ServedModels, world: EtaOnServers
) -> None:
    quick = registry.add(QUICK, "ann")
    registry.shadow(quick, "ann")
    models.poll()
    served = client.eta("one")
    assert served["model"]["name"] == "baseline"
    world.shadow.flush()
    table = ShadowTable(world.backends.engine)
    assert (table.count(quick), table.compare(quick)) == (1, [])
    world.assign("one", "anna")
    world.pick_up("one")
    world.complete("one")
    world.fold(DELIVERIES)
    overall, of_leg = table.compare(quick)
    assert (overall.leg, of_leg.leg) == ("all", "unassigned")
    assert (overall.answers, overall.orders) == (1, 1)
    expected = 0.5 * (served["p50_seconds"] + 60.0) - 60.0
    assert overall.difference_s == pytest.approx(served["p50_seconds"] - expected, abs=0.01)
    # The order was handed over at once, so both are late by about what they said.
    assert overall.serving_mae_s - overall.shadow_mae_s == pytest.approx(overall.difference_s, abs=0.01)
    table.trim(0)
    assert table.compare(quick) == []


def test_regression_a_shadow_is_compared_with_each_model_that_served_beside_it(
    client: EtaClient, registry: ModelRegistry, models: ServedModels, world: EtaOnServers
) -> None:
    # One mean over both would say that neither is what it is.
    quick = registry.add(QUICK, "ann")
    registry.shadow(quick, "ann")
    models.poll()
    client.eta("one")
    slow = registry.promote(registry.add(SLOW, "ann"), "ann").serving
    models.poll()
    client.eta("one")
    world.shadow.flush()
    world.assign("one", "anna")
    world.pick_up("one")
    world.complete("one")
    world.fold(DELIVERIES)
    found = ShadowTable(world.backends.engine).compare(quick)
    baseline = packaged_baseline().digest
    assert [(one.serving_digest, one.leg) for one in found] == [
        *((slow, leg) for leg in ("all", "unassigned")),
        *((baseline, leg) for leg in ("all", "unassigned")),
    ]
    assert [one.answers for one in found] == [1, 1, 1, 1]
    assert found[0].serving_mae_s > found[2].serving_mae_s + 60.0


def test_files_of_another_model_under_a_digest_are_not_served(registry: ModelRegistry, world: EtaOnServers) -> None:
    slow = registry.add(SLOW, "ann")
    with world.backends.engine.begin() as connection:
        for name, content in QUICK.items():
            connection.execute(
                text("UPDATE eta_model_files SET content = :content WHERE name = :name"),
                {"name": name, "content": content},
            )
    assert LoadedModels(registry).model_of(slow) is None
    assert load(QUICK).digest != slow
