"""A row of an ETA training set: what a model is given at one instant, what then happened, and the Parquet schema.

Features come first, then the facts of the order, then answers, then the outcome with its evidence. Only the columns of
``FEATURE_COLUMNS``, ``WAY_COLUMNS`` and ``FACT_COLUMNS`` may be given to a model. None is unknown, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import pyarrow as pa

from domain.features.eta.features import EtaFeatures
from domain.features.eta.way import Ride, Way


class RowSource(StrEnum):
    """Where a row comes from; the values are stored."""

    SERVED = "served"
    """An answer on record, recomputed from the events and found equal."""
    RULE = "rule"
    """An instant that a rule names."""


class RowOutcome(StrEnum):
    """How the order of a row ended, as far as the log knows; the values are stored."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    OPEN = "open"


class EtaRow(NamedTuple):
    """One ETA. Metres, seconds (``_s``), epoch milliseconds (``_ms``), WGS84 degrees, seconds a kilometre.

    ``at_ms`` is the one clock reading of the answer. ``position`` is the last position of the log that the row uses;
    of a served answer that of its order. ``because`` holds the reasons of the features, without those of a model.
    ``baseline_*`` are those of the packaged baseline, not calibrated. ``label_s`` is None if ``censored``. The columns
    ``label_event_ms``, ``label_known_ms`` and ``label_position`` say when the outcome happened, and by which time and
    position of the log it was known.
    """

    order_id: str
    at_ms: int
    position: int
    source: str
    leg: str
    rider_to_restaurant_m: float | None
    restaurant_to_customer_m: float
    rider_to_customer_m: float | None
    traffic_index: float | None
    local_time_of_day_h: float | None
    local_day_of_week: int | None
    rider_speed_mps: float | None
    rider_pace_s_per_km: float | None
    preparation_left_s: float | None
    elapsed_in_leg_s: float
    orders_of_rider: int | None
    open_orders_here: int | None
    recent_duration_s: float | None
    recent_lateness_s: float | None
    because: Sequence[str]
    to_restaurant_way_m: float | None
    to_restaurant_way_stops: int | None
    to_restaurant_way_pace_s_per_km: float | None
    to_restaurant_way_pick_ups: int | None
    to_customer_way_m: float | None
    to_customer_way_stops: int | None
    to_customer_way_pace_s_per_km: float | None
    to_customer_way_pick_ups: int | None
    fleet_pace_s_per_km: float | None
    since_placed_s: float
    promised_seconds: int | None
    items: int | None
    preparation_seconds: int | None
    city: str | None
    time_zone: str
    placed_at_ms: int
    restaurant_latitude: float
    restaurant_longitude: float
    customer_latitude: float
    customer_longitude: float
    baseline_p50_s: float
    baseline_p90_s: float
    served_p50_s: float | None
    served_p90_s: float | None
    model_digest: str | None
    city_snapshot: int | None
    served_eta_id: int | None
    outcome: str
    censored: bool
    label_s: float | None
    label_event_ms: int | None
    label_known_ms: int | None
    label_position: int | None


COLUMNS = EtaRow._fields
FEATURE_COLUMNS = EtaFeatures._fields
"""The feature vector, with ``because``."""
WAY_COLUMNS = COLUMNS[COLUMNS.index("to_restaurant_way_m") : COLUMNS.index("promised_seconds")]
FACT_COLUMNS = COLUMNS[COLUMNS.index("promised_seconds") : COLUMNS.index("baseline_p50_s")]
EVIDENCE_COLUMNS = ("label_event_ms", "label_known_ms", "label_position")
"""Never features: they say how and when the outcome became known."""

_TEXT = ("order_id", "source", "leg", "city", "time_zone", "model_digest", "outcome")
_INTEGER = (
    *("at_ms", "position", "local_day_of_week", "orders_of_rider", "open_orders_here"),
    *("to_restaurant_way_stops", "to_restaurant_way_pick_ups", "to_customer_way_stops", "to_customer_way_pick_ups"),
    *("promised_seconds", "items", "preparation_seconds", "placed_at_ms", "city_snapshot", "served_eta_id"),
    *EVIDENCE_COLUMNS,
)


def arrow_schema() -> pa.Schema:
    """The Parquet schema of the rows. Columns that are neither text, integer nor list are float64."""
    types = dict.fromkeys(COLUMNS, pa.float64())
    types |= dict.fromkeys(_TEXT, pa.string()) | dict.fromkeys(_INTEGER, pa.int64())
    types |= {"because": pa.list_(pa.field("element", pa.string())), "censored": pa.bool_()}
    return pa.schema([(name, types[name]) for name in COLUMNS])


def features_of(row: Mapping[str, Any]) -> EtaFeatures:
    """The feature vector of a row, as ``EtaModel.predict`` takes it. Raises KeyError for a row of other columns."""
    values = {name: row[name] for name in FEATURE_COLUMNS}
    return EtaFeatures(**{**values, "because": tuple(values["because"])})


def way_of(row: Mapping[str, Any]) -> Way:
    """The way of a row, as ``EtaModel.predict`` takes it. Raises KeyError for a row of other columns."""
    rides = (_ride(row, "to_restaurant_way"), _ride(row, "to_customer_way"))
    return Way(*rides, row["fleet_pace_s_per_km"], row["since_placed_s"])


def way_columns(way: Way) -> tuple[float | int | None, ...]:
    """The values of ``WAY_COLUMNS``."""
    rides = (ride for ride in (way.to_restaurant, way.to_customer))
    flat = [value for ride in rides for value in ((None,) * 4 if ride is None else ride)]
    return (*flat, way.fleet_pace_s_per_km, way.since_placed_s)


def _ride(row: Mapping[str, Any], name: str) -> Ride | None:
    metres = row[f"{name}_m"]
    if metres is None:
        return None
    return Ride(metres, row[f"{name}_stops"], row[f"{name}_pace_s_per_km"], row[f"{name}_pick_ups"])
