"""Compares what a running ``serve`` shows of the orders of a load with what the log leads to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import text

from domain.deliveries.values import DeliveryStatus
from domain.events.contracts import Codec
from domain.identifiers import shard_of
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.redis.connection import connect_server
from infrastructure.schema_registry.client import schema_ids
from infrastructure.settings.settings import Settings
from projections.core.projection import Projection
from projections.orders import ORDERS
from projections.rebuild.generations import is_kept_up
from projections.speed import SPEED
from read_models.redis_keys import state_key
from tests.support.worlds.delivery_accounting import account_for_commands
from tests.support.worlds.delivery_history import HistoryFound, OrderFound
from tests.support.worlds.order_load import OrderLoad
from tests.support.worlds.ridelog import Ridelog

PAGE = 20
_STAGES = ("assigned", "picked_up", "arrived", "completed", "cancelled")
_OVER = {"completed", "cancelled"}
_LOG = text(
    "SELECT aggregate_id, version, event_type, payload, aggregate_type, aggregate_key, event_id, command_id, caused_by"
    " FROM events ORDER BY position"
)


def account_for_orders(ridelog: Ridelog, load: OrderLoad) -> HistoryFound:
    """Every order and every rider's open legs, by the whole log. Raises AssertionError for a fault of the log."""
    engine = reader_engine(ridelog.info.postgres_url)
    try:
        codec = Codec(schema_ids(Settings(postgres_url=ridelog.info.postgres_url), engine))
        with engine.connect() as connection:
            rows = connection.execute(_LOG).all()
    finally:
        engine.dispose()
    log = [
        LogEvent(
            row.aggregate_id, row.version, row.event_type, bytes(row.payload), row.aggregate_type, row.aggregate_key,
            row.event_id, 0, 0, row.command_id, row.caused_by,
        )
        for row in rows
    ]  # fmt: skip
    return account_for_commands(load.commands, log, codec.decode)


def orders_of(load: OrderLoad, found: HistoryFound) -> dict[str, OrderFound]:
    """The orders of the load that are in the log."""
    ours = {command.order_id for command in load.commands}
    return {order_id: order for order_id, order in found.orders.items() if order_id in ours}


def wrong_orders(ridelog: Ridelog, load: OrderLoad, found: HistoryFound) -> list[str]:
    """What one delivery, the lists, the ETA, and the states in Redis show otherwise than the log leads to."""
    orders = orders_of(load, found)
    one = {order_id: _one(ridelog, order_id) for order_id in orders}
    wrong = [f"GET one {order_id}" for order_id, order in orders.items() if _differs(one[order_id], order)]
    wrong += _wrong_lists(ridelog, load, orders)
    wrong += [f"ETA of {order_id}" for order_id, order in orders.items() if not _has_its_eta(ridelog, order_id, order)]
    return wrong + _wrong_states(ridelog, load, found)


def _one(ridelog: Ridelog, order_id: str) -> dict[str, Any]:
    answer = ridelog.http.get(f"/deliveries/{order_id}")
    shown: dict[str, Any] = answer.json()
    return shown


def _differs(shown: dict[str, Any] | None, order: OrderFound) -> bool:
    """Events of serving may come after the last step, so the version may be beyond its."""
    if shown is None or shown.get("version", 0) < order.version:
        return True
    times = {stage: shown[f"{stage}_at_ms"] for stage in _STAGES}
    expected = {stage: order.times_ms.get(stage) for stage in _STAGES}
    return (shown["status"], shown["rider_id"] or "", shown["placed_at_ms"], times) != (
        order.status,
        order.rider_id,
        order.times_ms["placed"],
        expected,
    )


def _wrong_lists(ridelog: Ridelog, load: OrderLoad, orders: dict[str, OrderFound]) -> list[str]:
    wrong = []
    for status in DeliveryStatus:
        shown = {row["order_id"]: row for row in _listed(ridelog, status=status.value, since=load.started_ms)}
        expected = {order_id for order_id, order in orders.items() if order.status == status}
        if expected - shown.keys() or (orders.keys() & shown.keys()) - expected:
            wrong.append(f"list of status {status.value}")
    for rider in load.riders:
        shown = {row["order_id"]: row for row in _listed(ridelog, rider_id=rider)}
        own = {order_id: order for order_id, order in orders.items() if order.rider_id == rider}
        if shown.keys() != own.keys():
            wrong.append(f"list of rider {rider}")
        wrong += [f"row of {order_id}" for order_id, order in own.items() if _differs(shown.get(order_id), order)]
    return wrong


def _listed(ridelog: Ridelog, **filters: Any) -> Iterator[dict[str, Any]]:
    """All pages."""
    query: dict[str, Any] = {"limit": PAGE, **filters}
    while True:
        answer = ridelog.http.get("/deliveries", params=query)
        if answer.status_code != 200:
            return
        page = answer.json()
        yield from page["items"]
        if page["next"] is None:
            return
        query["cursor"] = page["next"]


def _has_its_eta(ridelog: Ridelog, order_id: str, order: OrderFound) -> bool:
    answer = ridelog.http.get(f"/deliveries/{order_id}/eta")
    if order.status in _OVER:
        return (answer.status_code, answer.json().get("code")) == (409, "delivery_over")
    if answer.status_code != 200:
        return False
    legs = {
        "placed": {"unassigned"},
        "assigned": {"to_restaurant", "at_restaurant"},
        "picked_up": {"to_customer", "at_customer"},
        "arrived": {"at_customer"},
    }
    return answer.json()["features"]["leg"] in legs[order.status]


def _wrong_states(ridelog: Ridelog, load: OrderLoad, found: HistoryFound) -> list[str]:
    """Orders and riders whose state in Redis differs, in any generation that is kept up to date."""
    wrong = []
    for generation, order_id, state in _states(ridelog, ORDERS, list(orders_of(load, found))):
        order = found.orders[order_id]
        shown = None if state is None else (state.status, state.rider_id or "", state.latest_step_ms)
        if shown != (order.status, order.rider_id, max(order.times_ms.values())):
            wrong.append(f"state of {order_id}@{generation}")
    for generation, rider, state in _states(ridelog, SPEED, load.riders):
        legs = set() if state is None else {(leg.order_id, leg.leg) for leg in state.legs}
        if legs != found.legs.get(rider, set()):
            wrong.append(f"legs of {rider}@{generation}")
    return wrong


def _states(ridelog: Ridelog, projection: Projection[Any], keys: list[str]) -> Iterator[tuple[int, str, Any]]:
    """Generation, key and state."""
    engine, client = reader_engine(ridelog.info.postgres_url), connect_server(ridelog.info.redis_url)
    try:
        kept = [g.number for g in PostgresGenerations(engine).all(projection.name) if is_kept_up(g, projection)]
        assert kept
        for number in kept:
            for key in keys:
                (state,) = client.hmget(state_key(projection.name, number, shard_of(key)), [key])
                assert not isinstance(state, str)
                yield number, key, None if state is None else projection.decode(state)
    finally:
        client.close()
        engine.dispose()
