"""``/orders`` and ``/orders/{order_id}``: which orders were open at an instant, and one order as of it, by one fold."""

from __future__ import annotations

from functools import partial
from typing import Any

from litestar import MediaType, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from domain.features.delivery_row import DeliveryRow
from infrastructure.http.delivery_answers import of_row
from infrastructure.http.errors import ApiError, errors
from infrastructure.http.hot_route import ReadyAnswer
from infrastructure.http.time_travel import At, AtPosition, OnAxis, as_of, read_past
from infrastructure.replay.orders_then import OrdersThen
from infrastructure.timestamps import now_ms
from projections.replay.as_of import AsOf
from read_models.view import body_of


def order_view_routes(orders: OrdersThen) -> list[HTTPRouteHandler]:
    """Both routes. ``orders`` blocks: it is called in the threads of reads of the past."""
    return [_orders(orders), _order(orders)]


def _orders(orders: OrdersThen) -> HTTPRouteHandler:
    @get(
        "/orders",
        media_type=MediaType.JSON,
        opt={"role": "read"},
        summary="Which orders were open at an instant",
        responses=errors(400, 422, 503),
        tags=["deliveries"],
    )
    async def get_orders(at: At = None, axis: OnAxis = None, position: AtPosition = None) -> Response[dict[str, Any]]:
        """The orders that were open then, of those placed in the three hours before, each in its stage of then.

        Only events that count as of then are folded: on the axis known, a step that a phone reported later is not in
        it. `{items: [{order_id, status, rider_id, restaurant, customer, placed_at_ms, promised_seconds, version,
        position}], at_ms, position, more}`, at most 2,000, the newest; `more` says that there may be others.
        """
        when = as_of(at, axis, position) or AsOf.happened(now_ms())
        then = await read_past(when, partial(orders.at, when))
        body = {
            "items": [_open_order(one.order_id, one.row) for one in then.orders],
            "at_ms": then.horizon.at_ms,
            "position": then.horizon.position,
            "more": then.more,
        }
        return ReadyAnswer(body_of(body), {})

    return get_orders


def _order(orders: OrdersThen) -> HTTPRouteHandler:
    @get(
        "/orders/{order_id:str}",
        media_type=MediaType.JSON,
        opt={"role": "read"},
        summary="One order as of an instant",
        responses=errors(400, 404, 422, 503),
        tags=["deliveries"],
    )
    async def get_order(
        order_id: FromPath[str], at: At = None, axis: OnAxis = None, position: AtPosition = None
    ) -> Response[dict[str, Any]]:
        """The stage of an order as in `/orders`, also of one that was over, or was placed more than three hours before.

        `{order: {…}, at_ms, position}`, `order` with the fields of `/deliveries/{order_id}` without `completion`, as
        far as they count as of then. 404 `unknown_delivery`, when its placing does not count; 422 for an order of more
        than 100 events by then.
        """
        when = as_of(at, axis, position) or AsOf.happened(now_ms())
        then = await read_past(when, partial(orders.one, order_id, when))
        if then.row is None:
            detail = (
                f"as of then, no order {order_id[:128]!r} was placed; GET /deliveries/{{order_id}} has it as of now"
            )
            raise ApiError(404, "unknown_delivery", detail)
        order = of_row(then.row._asdict() | {"order_id": order_id})
        body = {"order": order, "at_ms": then.horizon.at_ms, "position": then.horizon.position}
        return ReadyAnswer(body_of(body), {})

    return get_order


def _open_order(order_id: str, row: DeliveryRow) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "status": row.status,
        "rider_id": row.rider_id,
        "restaurant": {"latitude": row.restaurant_latitude, "longitude": row.restaurant_longitude},
        "customer": {"latitude": row.customer_latitude, "longitude": row.customer_longitude},
        "placed_at_ms": row.placed_at_ms,
        "promised_seconds": row.promised_seconds,
        "version": row.version,
        "position": row.position,
    }
