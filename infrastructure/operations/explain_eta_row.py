"""Explains a row of a training set: the events, cells and positions that each value comes from, replayed one by one.

Another path to the values than the passes that made the set: state replays, and a merge of the whole city.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from domain.features.calibration.adjustment import Calibration
from domain.features.eta.city_view import CellOrders, CityView
from domain.features.eta.features import EtaFeatures, eta_reading
from domain.features.eta.learned.model import LearnedEta
from domain.features.orders import OrderState
from domain.features.outcomes.sums import place_id
from domain.features.speed.window import SpeedState
from domain.timestamps import utc_datetime
from infrastructure.backends import Backends
from infrastructure.errors import UserError
from infrastructure.operations.verify_eta import ModelOf, NamedCities, models_of
from infrastructure.postgres.served_etas import PostgresServedEtas
from infrastructure.training_sets.eta_rows import RowSource, features_of, way_of
from infrastructure.training_sets.eta_set import EtaManifest, EtaSet
from projections.core.projection import Projection
from projections.orders import ORDERS
from projections.replay.as_of import Horizon
from projections.replay.city import city_at, city_sources
from projections.replay.event_axis import HappenedEvents
from projections.replay.key_replay import KeyReplay
from projections.speed import SPEED
from read_models.city.content import digest_of, encode
from read_models.city.snapshot import CitySnapshot

Row = Mapping[str, Any]
MAX_EVENTS_SHOWN = 200
"""Events of one order in an explanation; an order has some ten."""


class _Inputs(NamedTuple):
    """What a row was computed from, each as of its own horizon; the rider may have none."""

    order: Horizon
    rider: Horizon | None
    city: CityView | None
    city_source: dict[str, Any]


class TracedCity:
    """A city that keeps what it was asked and what it answered. Implements ``CityView``."""

    def __init__(self, city: CityView) -> None:
        self._city = city
        self.asked: dict[str, Any] = {}
        """Look-up -> answer, each once."""

    @property
    def as_of_ms(self) -> int:
        return self._city.as_of_ms

    def pace(self, cell: int, octant: int, at_ms: int) -> float | None:
        return self._keep(f"pace of cell {cell:x}, heading {octant}", self._city.pace(cell, octant, at_ms))

    def index(self, cell: int, octant: int, at_ms: int) -> float | None:
        return self._keep(f"traffic index of cell {cell:x}, heading {octant}", self._city.index(cell, octant, at_ms))

    def fleet_pace(self) -> float | None:
        return self._keep("pace of the fleet", self._city.fleet_pace())

    def orders_at(self, cell: int) -> CellOrders:
        found = self._city.orders_at(cell)
        self.asked[f"orders of cell {cell:x}"] = found._asdict()
        return found

    @property
    def calibration(self) -> Calibration:
        """Not asked for: features do not use it."""
        return self._city.calibration

    def _keep(self, what: str, value: float | None) -> float | None:
        self.asked[what] = value
        return value


def find_row(eta_set: EtaSet, wanted: str) -> Row:
    """The row with this number, from 0, or the first one with this order and instant (``order:at_ms``).

    Raises UserError if the set has none.
    """
    number = int(wanted) if wanted.isascii() and wanted.isdecimal() else None
    order_id, _, at_ms = wanted.rpartition(":")
    for n, row in enumerate(eta_set.rows()):
        if n == number or (number is None and (row["order_id"], str(row["at_ms"])) == (order_id, at_ms)):
            return row
    raise UserError(f"the set has no row {wanted}: give its number, from 0, or ORDER:AT_MS as in the set")


def explain_row(
    backends: Backends,
    manifest: EtaManifest,
    row: Row,
    on_progress: Callable[[int], None] = lambda events: None,
    model_of: ModelOf | None = None,
) -> dict[str, Any]:
    """The explanation as a JSON document; ``equal`` says whether every value was found again.

    ``on_progress`` gets the events of the city folded since the last call. ``model_of``: None for ``models_of``.

    Raises UserError, Unresolvable, TooLong, PortUnavailable.
    """
    head = backends.log.head(ORDERS.stream)
    if str(head.log_id) != manifest.log_id or head.position < manifest.last_position:
        raise UserError(f"the set was made from the log {manifest.log_id} up to position {manifest.last_position:,}")
    served = row["source"] == RowSource.SERVED
    inputs = _of_answer(backends, row) if served else _of_rule(backends, manifest, row, on_progress)
    order = _state(backends, ORDERS, row["order_id"], inputs.order)
    if order is None:
        raise UserError(f"the log has no order {row['order_id']} as of that row")
    rider = None
    if order.rider_id is not None and inputs.rider is not None:
        rider = _state(backends, SPEED, order.rider_id, inputs.rider)
    city = None if inputs.city is None else TracedCity(inputs.city)
    reading = eta_reading(order, rider, city, row["at_ms"], order_id=row["order_id"])
    different = [
        name for name in EtaFeatures._fields if getattr(reading.features, name) != getattr(features_of(row), name)
    ]
    different += ["way"] if reading.way != way_of(row) else []
    return {
        "row": dict(row),
        "equal": not different,
        "different": different,
        "order": {"state": order._asdict(), "events": _order_events(backends, row["order_id"], inputs.order)},
        "rider": _rider(order, rider, inputs.rider),
        "city": {**inputs.city_source, "asked": {} if city is None else city.asked},
        "restaurant": _restaurant(row, model_of or models_of(backends)),
        "label": _label(row),
    }


def _restaurant(row: Row, model_of: ModelOf) -> dict[str, Any]:
    """The place, and its effect in the model of the answer.

    ``effect_log``: in ln of seconds, an input of that model, as ``input_values`` has it; None without such an input.
    ``problem``: why it is unknown; else None.
    """
    found: dict[str, Any] = {"place": None, "model": row["model_digest"], "effect_log": None, "problem": None}
    latitude, longitude = row["restaurant_latitude"], row["restaurant_longitude"]
    if latitude is not None and longitude is not None:
        found["place"] = place_id(latitude, longitude)
    model = None if row["model_digest"] is None else model_of(row["model_digest"])
    if isinstance(model, LearnedEta):
        found["effect_log"] = model.spec.places.get(found["place"], 0.0)
    elif model is None and row["model_digest"] is not None:
        found["problem"] = "the model that answered is not on record any more, or cannot be loaded"
    return found


def _of_rule(backends: Backends, manifest: EtaManifest, row: Row, on_progress: Callable[[int], None]) -> _Inputs:
    at_ms, axis = row["at_ms"], manifest.axis
    assert axis in {"known", "position", "event"}
    happened_by_ms = at_ms if axis == "event" else None
    horizon = Horizon(UUID(manifest.log_id), axis, row["position"], happened_by_ms, at_ms)  # type: ignore[arg-type]
    content = city_at(city_sources(backends.archive, backends.decode), horizon, on_chunk=on_progress)
    city = CitySnapshot(0, digest_of(encode(content)), content)
    what = f"all events up to position {row['position']:,}"
    if happened_by_ms is not None:
        what += f" that had happened by {_time(at_ms)}"
    return _Inputs(horizon, horizon, city, {"merged_from": what, "as_of": _time(at_ms), "digest": city.digest})


def _of_answer(backends: Backends, row: Row) -> _Inputs:
    found = PostgresServedEtas(backends.engine).of_ids([row["served_eta_id"]])
    if not found:
        raise UserError(
            f"the answer {row['served_eta_id']:,} is not on record any more (setting served_etas_keep): only the row "
            "is left of it"
        )
    eta, log_id = found[0].eta, found[0].log_id
    order = Horizon(log_id, "position", eta.order.position, None, eta.at_ms)
    rider = None if eta.rider is None else Horizon(log_id, "position", eta.rider.position, None, eta.at_ms)
    if eta.city_snapshot is None:
        return _Inputs(order, rider, None, {"merged_from": "nothing: there was no snapshot yet"})
    audited = NamedCities(backends, lambda: None, lambda: None)(eta.city_snapshot)
    if audited is None or audited.content is None:
        raise UserError(f"city snapshot {eta.city_snapshot:,} cannot be merged again: {audited and audited.why}")
    city = CitySnapshot(eta.city_snapshot, audited.digest, audited.content)
    source = {"snapshot": eta.city_snapshot, "as_of": _time(city.as_of_ms), "digest": audited.digest}
    return _Inputs(order, rider, city, source)


def _state(backends: Backends, projection: Projection[Any], key: str, horizon: Horizon) -> Any:
    snapshots = backends.snapshots(projection) if projection is SPEED else None
    found = KeyReplay(backends.replay_source(projection), snapshots).at(key, horizon)
    return None if found is None else found.state


def _order_events(backends: Backends, order_id: str, horizon: Horizon) -> list[dict[str, Any]]:
    happened = HappenedEvents(backends.archive, backends.decode)
    last = backends.archive.last_version(ORDERS.stream, order_id, horizon.position)
    events = happened.key_range(ORDERS.stream, order_id, 0, min(last, MAX_EVENTS_SHOWN), horizon.happened_by_ms)
    return [{"position": one.position, "version": one.version, "type": one.event_type} for one in events]


def _rider(order: OrderState, rider: SpeedState | None, horizon: Horizon | None) -> dict[str, Any]:
    if order.rider_id is None or rider is None or horizon is None:
        return {"rider_id": order.rider_id, "state": None}
    return {
        "rider_id": order.rider_id,
        "version": rider.version,
        "position": rider.position,
        "pings": [{"event_id": ping.event_id, "at": _time(ping.t_ms)} for ping in rider.window],
        "legs": [leg._asdict() for leg in rider.legs],
    }


def _label(row: Row) -> dict[str, Any]:
    if row["label_position"] is None:
        return {"outcome": row["outcome"]}
    return {
        "outcome": row["outcome"],
        "seconds": row["label_s"],
        "happened": _time(row["label_event_ms"]),
        "known": _time(row["label_known_ms"]),
        "position": row["label_position"],
    }


def _time(at_ms: int) -> str:
    return utc_datetime(at_ms).isoformat(timespec="milliseconds")
