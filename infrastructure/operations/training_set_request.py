"""Resolves the rule of a training set on this log, and names the code that its rows depend on."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from domain.features.eta.packaged import packaged_baseline
from infrastructure.backends import Backends, open_backends
from infrastructure.errors import UserError
from infrastructure.postgres.served_etas import PostgresServedEtas
from infrastructure.replay.all_keys import log_state
from infrastructure.replay.request import encode
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.eta_request import SERVED, EtaRequest
from infrastructure.training_sets.eta_set import FORMAT, EtaManifest, EtaRule
from infrastructure.training_sets.log_clock import latest_sent_ms
from infrastructure.training_sets.manifest import numeric_fingerprint
from projections.digest.digest import answer_digest, fold_digest
from projections.orders import ORDERS
from projections.parity.served_etas import eta_code_digest
from projections.replay.as_of import AsOf, Axis
from projections.replay.city import city_code_digest
from projections.speed import SPEED
from projections.traffic import TRAFFIC
from read_models.city.running import RunningCity

PARTS_VERSION = 2
"""Changes with what the files between two passes hold: after an upgrade, parts of before must not be read."""


def resolve(settings: Settings, rule: EtaRule, axis: Axis, position: int | None) -> EtaRequest:
    """Resolve a rule on this log: up to ``position``, or to the last one. Raises Unresolvable, PortUnavailable."""
    with open_backends(settings) as backends:
        etas = PostgresServedEtas(backends.engine)
        if rule.kind == SERVED and not rule.last_served_id:
            # Before the position is read, so that the log up to there has the events of all these answers.
            rule = msgspec.structs.replace(rule, last_served_id=etas.newest_id())
        horizon = backends.archive.horizon(AsOf.at_position(position or backends.log.head(ORDERS.stream).position))
        last_ms = horizon.at_ms
        if axis == "event":
            last_ms = latest_sent_ms(backends.engine, horizon.position)
        return EtaRequest(rule, axis, str(horizon.log_id), horizon.position, last_ms)


@cache
def code_digests() -> dict[str, str]:
    """Digests of all code that decides what is in a row."""
    return {
        "orders": fold_digest(ORDERS),
        "speed": fold_digest(SPEED),
        "traffic": fold_digest(TRAFFIC),
        "city": city_code_digest(),
        "running_city": answer_digest("running city", RunningCity.at),
        "features": eta_code_digest(),
        "baseline": packaged_baseline().digest,
    }


def set_identity(backends: Backends, request: EtaRequest) -> bytes:
    """Everything that parts depend on: parts of another request, code or log must not mix with these."""
    document: dict[str, Any] = {"format": FORMAT, "parts": PARTS_VERSION, "request": request, "code": code_digests()}
    document["fingerprint"] = numeric_fingerprint()
    for projection in (ORDERS, SPEED, TRAFFIC):
        document[projection.name] = log_state(backends, projection.name, request.position)
    return encode(msgspec.to_builtins(document))


def require_same_code(wanted: EtaManifest) -> None:
    """Raises UserError if this code cannot make the rows of ``wanted`` again."""
    ours = code_digests()
    other = sorted(name for name, digest in wanted.code.items() if ours.get(name) != digest)
    if other:
        raise UserError(
            f"that set was made by other code of {', '.join(other)}: check out that version, or make a new set"
        )
