"""The answer of ``GET /deliveries/{order_id}/eta``: a pure function of what was read and one clock reading.

A live answer, an answer about the past and the audit call the same function, so the same inputs give the same bytes.
"""

from __future__ import annotations

from typing import Any

from domain.features.eta.baseline import EtaModel
from domain.features.eta.city_view import CityView
from domain.features.eta.estimate import EtaEstimate, estimate
from domain.features.eta.features import EtaFeatures
from domain.features.orders import OrderState
from domain.features.speed.window import SpeedState

NAME = "eta"
_FEATURES = tuple(name for name in EtaFeatures._fields if name != "because")


def eta_answer(
    order_id: str,
    order: OrderState,
    rider: SpeedState | None,
    city: tuple[CityView | None, int | None],
    model: EtaModel,
    at_ms: int,
) -> dict[str, Any]:
    """The values at ``at_ms`` (epoch ms), in the order of the body. Raises OrderIsOver.

    ``rider``: the read model of the order's rider, None without one. ``city``: the merge of all riders and orders, and
    the number of the snapshot that it came from; no number if it was merged for this answer.
    """
    view, snapshot = city
    found = estimate(order, rider, view, at_ms, model, order_id=order_id)
    return answer_of(found, order_id, order, rider, snapshot)


def answer_of(
    found: EtaEstimate, order_id: str, order: OrderState, rider: SpeedState | None, snapshot: int | None
) -> dict[str, Any]:
    """The values of an estimate: ``found`` with the positions of what it was computed from."""
    features = found.features
    return {
        "order_id": order_id,
        "eta_seconds": found.eta_seconds,
        "p50_seconds": found.p50_seconds,
        "p90_seconds": found.p90_seconds,
        "model": {"name": found.model_name, "digest": found.model_digest},
        "features": {name: getattr(features, name) for name in _FEATURES},
        "because": found.because,
        "positions": {
            "order": order.position,
            "rider": None if found.age_ms is None or rider is None else rider.position,
            "city_snapshot": snapshot,
        },
        "at_ms": found.at_ms,
        "age_ms": found.age_ms,
    }
