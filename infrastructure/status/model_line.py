"""The status line of the ETA's model: which one serves, since when, the one in shadow, and whether both can be loaded.

``status`` loads the model by itself: the API answers with the baseline meanwhile, which no stage report shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Engine

from domain.features.eta.packaged import packaged_baseline
from domain.timestamps import epoch_ms, utc_datetime
from infrastructure.eta_models.model_files import ModelUnavailable
from infrastructure.eta_models.registry import ModelChange, ModelRegistry
from infrastructure.eta_models.served_models import LoadedModels
from infrastructure.status.lines import StatusLine

STAGE = "eta model"
DIGEST_CHARS = 12


class ModelRole(msgspec.Struct):
    """A model in a role. ``since_ms``: epoch milliseconds, None: from the start. ``unavailable``: why, or ""."""

    name: str
    digest: str
    since_ms: int | None = None
    unavailable: str = ""


class ModelsStatus(msgspec.Struct):
    """``serving``: the model that is to answer. ``shadow``: None without one."""

    serving: ModelRole
    shadow: ModelRole | None = None


def models_status(engine: Engine, loaded: LoadedModels | None = None) -> ModelsStatus:
    """``loaded``: the models of this process; without it, both roles are loaded here. Raises PortUnavailable."""
    registry = ModelRegistry(engine)
    loaded = loaded or LoadedModels(registry)
    changes = registry.changes()
    names = {one.digest: one.name for one in registry.entries()}
    found = roles_of(changes, names)
    for role in (found.serving, found.shadow):
        if role is not None and role.digest in names:
            try:
                loaded.learned(role.digest)
            except ModelUnavailable as error:
                role.unavailable = str(error)
    return found


def roles_of(changes: Sequence[ModelChange], names: Mapping[str, str]) -> ModelsStatus:
    """The roles after ``changes``, the oldest first; pure. ``names``: of the models of the registry, by digest."""
    serving: str | None = None
    shadow: str | None = None
    serving_since: int | None = None
    shadow_since: int | None = None
    for change in changes:
        at_ms = epoch_ms(change.changed_at)
        if change.roles.serving != serving:
            serving, serving_since = change.roles.serving, at_ms
        if change.roles.shadow != shadow:
            shadow, shadow_since = change.roles.shadow, at_ms
    baseline = packaged_baseline()
    served = ModelRole(baseline.name, baseline.digest, serving_since)
    if serving is not None:
        served = ModelRole(names.get(serving, ""), serving, serving_since)
    return ModelsStatus(served, None if shadow is None else ModelRole(names.get(shadow, ""), shadow, shadow_since))


def model_line(found: ModelsStatus) -> StatusLine:
    """A shadow that cannot be loaded is named, and does not make ``status`` red: no answer depends on it."""
    state, advice = _named(found.serving), ""
    if found.shadow is not None:
        state += f"; in shadow {_named(found.shadow)}"
        if found.shadow.unavailable:
            state += f", which cannot be loaded: {found.shadow.unavailable}"
    if found.serving.unavailable:
        state += f"; it cannot be loaded, so the baseline answers: {found.serving.unavailable}"
        advice = "promote another model, or run `models roll-back`"
    return StatusLine(STAGE, state, None, advice=advice)


def _named(role: ModelRole) -> str:
    since = "" if role.since_ms is None else f" since {utc_datetime(role.since_ms):%Y-%m-%d %H:%M:%S} UTC"
    return f"{role.name} {role.digest[:DIGEST_CHARS]}{since}"
