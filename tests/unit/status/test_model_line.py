"""The status line of the model that serves: since when, and red only if the serving one cannot be loaded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from domain.features.eta.packaged import packaged_baseline
from domain.timestamps import epoch_ms
from infrastructure.eta_models.registry import ModelAction, ModelChange, ModelRoles
from infrastructure.status.model_line import ModelRole, ModelsStatus, model_line, roles_of

START = datetime(2026, 11, 29, 8, 0, tzinfo=UTC)
A, B = "a" * 64, "b" * 64
NAMES = {A: "first", B: "second"}


def changes(*roles: ModelRoles) -> list[ModelChange]:
    """One change an hour."""
    return [
        ModelChange(number, START + timedelta(hours=number), "ann", ModelAction.PROMOTE, each)
        for number, each in enumerate(roles)
    ]


def test_without_a_promotion_the_baseline_serves_from_the_start() -> None:
    baseline = packaged_baseline()
    assert roles_of([], NAMES) == ModelsStatus(ModelRole(baseline.name, baseline.digest))
    assert model_line(roles_of([], NAMES)).state == f"{baseline.name} {baseline.digest[:12]}"


def test_a_model_serves_since_its_promotion_whatever_happens_to_the_shadow() -> None:
    found = roles_of(changes(ModelRoles(A), ModelRoles(A, B), ModelRoles(A, None), ModelRoles(A, B)), NAMES)
    assert found.serving == ModelRole("first", A, epoch_ms(START))
    assert found.shadow == ModelRole("second", B, epoch_ms(START + timedelta(hours=3)))
    line = model_line(found)
    assert line.state == (
        f"first {A[:12]} since 2026-11-29 08:00:00 UTC; in shadow second {B[:12]} since 2026-11-29 11:00:00 UTC"
    )
    assert line.good


def test_after_a_roll_back_the_baseline_serves_since_then() -> None:
    found = roles_of(changes(ModelRoles(A), ModelRoles(None)), NAMES)
    assert found.serving.since_ms == epoch_ms(START + timedelta(hours=1))
    assert found.serving.name == packaged_baseline().name


def test_a_model_that_cannot_be_loaded_is_red_if_it_serves() -> None:
    broken = ModelRole("second", B, None, "its files do not have the digest")
    serving = model_line(ModelsStatus(broken))
    assert "so the baseline answers: its files do not have the digest" in serving.state
    assert "models roll-back" in serving.advice
    shadow = model_line(ModelsStatus(ModelRole("first", A), broken))
    assert shadow.good
    assert "which cannot be loaded: its files do not have the digest" in shadow.state
