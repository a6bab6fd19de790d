"""One ETA: features, model, calibration and reasons, from what was read and one clock reading."""

from __future__ import annotations

from typing import NamedTuple

from domain.features.eta.baseline import EtaModel
from domain.features.eta.city_view import CityView
from domain.features.eta.features import Because, EtaFeatures, eta_reading
from domain.features.eta.rider_view import RiderView
from domain.features.eta.stand_in import StandIn
from domain.features.orders import OrderState


class EtaEstimate(NamedTuple):
    """The computed part of an answer. Seconds until hand-over; ``age_ms`` of the rider's latest ping, None without."""

    eta_seconds: int
    p50_seconds: float
    p90_seconds: float
    model_name: str
    model_digest: str
    features: EtaFeatures
    because: tuple[Because, ...]
    at_ms: int
    age_ms: int | None
    model_p50_seconds: float
    model_p90_seconds: float
    """The quantiles of the model, before calibration: they are what its outcomes are scored by."""


def estimate(
    order: OrderState,
    rider: RiderView | None,
    city: CityView | None,
    now_ms: int,
    model: EtaModel,
    *,
    order_id: str,
) -> EtaEstimate:
    """The ETA at ``now_ms``, the one clock reading of the request. Raises OrderIsOver; pure.

    Seconds have three decimals, so that the answer is the same text wherever it is computed again.
    """
    reading = eta_reading(order, rider, city, now_ms, order_id=order_id)
    of_model = model.predict(reading.features, reading.way, reading.facts)
    because = reading.features.because
    if isinstance(model, StandIn):
        because = (*because, "model_unavailable")
    if model.is_outside_training(reading.features, reading.way, reading.facts):
        because = (*because, "outside_training")
    quantiles = of_model
    if city is not None:
        quantiles = city.calibration.adjust(reading.features.leg, reading.facts.city, of_model)
    p50_s, p90_s, model_p50_s, model_p90_s = (round(each, 3) for each in (*quantiles, *of_model))
    return EtaEstimate(
        round(p50_s),
        p50_s,
        p90_s,
        model.name,
        model.digest,
        reading.features,
        because,
        now_ms,
        reading.age_ms,
        model_p50_s,
        model_p90_s,
    )
