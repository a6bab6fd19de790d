"""A log of a simulated city with bad phones, in Postgres: late pings, stacked, declined, cancelled and open orders."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from domain.deliveries.history_batch import HistoryItem
from domain.deliveries.joint_backfill import JointBackfill
from domain.features.eta.features import EtaReading, OrderIsOver, eta_reading
from domain.features.eta.packaged import packaged_baseline
from infrastructure.backends import Backends, open_backends
from infrastructure.operations.training_set import Made, make_eta_set
from infrastructure.operations.training_set_request import resolve
from infrastructure.replay.past_etas import NO_SNAPSHOT
from infrastructure.settings.settings import Settings
from infrastructure.simulator.receptions import receptions
from infrastructure.simulator.scenario import Scenario
from infrastructure.training_sets.eta_rows import features_of, way_of
from infrastructure.training_sets.eta_set import EtaRule, EtaSet
from projections.orders import ORDERS
from projections.replay.as_of import Axis, Horizon
from projections.replay.city import city_at, city_sources
from projections.replay.key_replay import KeyReplay
from projections.speed import SPEED
from read_models.city.content import digest_of, encode
from read_models.city.snapshot import CitySnapshot
from tests.unit.simulator.scenarios import sent

BATCH_ITEMS = 1_000
Row = dict[str, Any]


def items_of(scenario: Scenario) -> list[HistoryItem]:
    """What the platform receives, in order."""
    return [each.item for each in receptions(sent(scenario), scenario)]


def record(settings: Settings, items: list[HistoryItem]) -> int:
    """Record ``items`` as history; a rejected one records nothing. Returns the last position."""
    with open_backends(settings) as backends:
        joint, rest = JointBackfill(backends.riders), iter(items)
        while batch := list(islice(rest, BATCH_ITEMS)):
            joint.record(batch)
        return backends.log.head(ORDERS.stream).position


def rows_of(out: Path) -> list[Row]:
    return [dict(row) for row in EtaSet(out).rows()]


def make(
    settings: Settings,
    out: Path,
    rule: EtaRule,
    axis: Axis = "known",
    position: int | None = None,
    workers: int = 1,
    **options: Any,
) -> Made:
    request = resolve(settings, rule, axis, position)
    return make_eta_set(settings, request, out, workers, lambda *done: None, **options)


class Reference:
    """Computes rows one by one, as an answer about the past does: it replays the order, its rider and the city."""

    def __init__(self, backends: Backends) -> None:
        self._orders = KeyReplay(backends.replay_source(ORDERS))
        self._riders = KeyReplay(backends.replay_source(SPEED))
        self._sources = city_sources(backends.archive, backends.decode)
        self._cities: dict[Horizon, CitySnapshot] = {}

    def reading(self, order_id: str, horizon: Horizon) -> EtaReading | None:
        """None: the order has no ETA within the horizon."""
        found = self._orders.at(order_id, horizon)
        if found is None or found.state is None:
            return None
        rider = None if found.state.rider_id is None else self._riders.at(found.state.rider_id, horizon)
        state = None if rider is None else rider.state
        try:
            return eta_reading(found.state, state, self._city(horizon), horizon.at_ms, order_id=order_id)
        except OrderIsOver:
            return None

    def rider_of(self, order_id: str, horizon: Horizon) -> str:
        """The rider of an order that has one."""
        found = self._orders.at(order_id, horizon)
        assert found is not None
        assert found.state is not None
        assert found.state.rider_id is not None
        return found.state.rider_id

    def _city(self, horizon: Horizon) -> CitySnapshot:
        if horizon not in self._cities:
            content = city_at(self._sources, horizon)
            self._cities[horizon] = CitySnapshot(NO_SNAPSHOT, digest_of(encode(content)), content)
        return self._cities[horizon]


def check_reading(row: Row, reading: EtaReading | None) -> None:
    """The row has this reading, and the baseline's answer to it."""
    assert reading is not None
    assert features_of(row) == reading.features
    assert way_of(row) == reading.way
    expected = packaged_baseline().predict(reading.features, reading.way)
    assert (row["baseline_p50_s"], row["baseline_p90_s"]) == expected


def horizons(settings: Settings, rows: list[Row], axis: Axis) -> Iterator[tuple[Row, Horizon]]:
    with open_backends(settings) as backends:
        log_id = backends.log.head(ORDERS.stream).log_id
    for row in rows:
        yield row, Horizon(log_id, axis, row["position"], row["at_ms"] if axis == "event" else None, row["at_ms"])
