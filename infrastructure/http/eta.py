"""``GET /deliveries/{order_id}/eta``: when an order will be handed over, with the evidence of the answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

from litestar import MediaType, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from domain.features.eta.baseline import EtaModel
from domain.features.eta.features import OrderIsOver
from domain.features.orders import OrderState
from domain.features.speed.window import SpeedState
from infrastructure.http.errors import ApiError, errors, unavailable
from infrastructure.http.hot_route import HotRoute, ReadyAnswer
from infrastructure.http.time_travel import At, AtPosition, OnAxis, answering, as_of, in_thread
from infrastructure.redis.state_reader import FoundState, ReadModelUnavailable, StateReader
from infrastructure.replay.past_etas import PastEtas
from infrastructure.timestamps import now_ms
from projections.parity.served_etas import EtaPlace, ServedEta
from projections.replay.as_of import AsOf
from read_models.city.snapshot import CitySnapshot
from read_models.eta.answer import eta_answer
from read_models.orders import state as order_state
from read_models.speed import state as speed_state
from read_models.view import body_of

REMEMBERED_STATES = 4_096
"""Decoded states that are remembered, of orders and of riders each (invariant 15)."""

OnEtaServed = Callable[[ServedEta], None]
"""Called for every live answer, with the exact bytes that are sent. Never waits, never raises."""


class EtaReads(NamedTuple):
    """What the route reads. ``city`` returns the newest snapshot that this process has; None before the first."""

    orders: StateReader
    riders: StateReader
    city: Callable[[], CitySnapshot | None]
    past: PastEtas


def eta_route(reads: EtaReads, model: EtaModel, on_served: OnEtaServed) -> HTTPRouteHandler:
    """The live answer takes two round trips to Redis: the order, then its rider."""

    async def live(order_id: str) -> Response[dict[str, Any]]:
        try:
            found = await _state_of(reads.orders, order_id)
            order = None if found is None else _order(found.state)
            if found is None or order is None:
                raise unknown("no event of this order is served yet; one that was just placed will be, in a moment")
            rider = None if order.rider_id is None else await _state_of(reads.riders, order.rider_id)
        except ReadModelUnavailable as error:
            raise unavailable("read_model_unavailable", str(error)) from error
        state = None if rider is None else _rider(rider.state)
        city, at_ms = reads.city(), now_ms()
        number = None if city is None else city.number
        body = _body(order_id, order, state, (city, number), at_ms)
        on_served(
            ServedEta(
                order_id,
                EtaPlace(found.generation, order.version, order.position),
                order.rider_id,
                None if rider is None or state is None else EtaPlace(rider.generation, state.version, state.position),
                number,
                None if city is None else city.digest,
                model.digest,
                at_ms,
                body,
            )
        )
        refolding = found.refolding or (rider is not None and rider.refolding)
        return ReadyAnswer(body, {"Ridelog-Refolding": "true"} if refolding else {})

    async def then(order_id: str, when: AsOf) -> Response[dict[str, Any]]:
        with answering():
            past = await in_thread(when, partial(reads.past.at, order_id, when))
        headers = {"Ridelog-Position": str(past.horizon.position)}
        if past.order is None:
            raise unknown("no event of this order counts as of then", headers)
        body = _body(order_id, past.order, past.rider, (past.city, None), past.horizon.at_ms, headers)
        return ReadyAnswer(body, headers)

    def _body(
        order_id: str,
        order: OrderState,
        rider: SpeedState | None,
        city: tuple[CitySnapshot | None, int | None],
        at_ms: int,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        try:
            return body_of(eta_answer(order_id, order, rider, city, model, at_ms))
        except OrderIsOver as error:
            raise ApiError(409, "delivery_over", f"{error}, and has no ETA", headers) from error

    @HotRoute(
        "/deliveries/{order_id:str}/eta",
        http_method="GET",
        media_type=MediaType.JSON,
        opt={"role": "read"},
        summary="When the order will be handed over",
        responses=errors(400, 404, 409, 422, 503),
        tags=["deliveries"],
    )
    async def get_eta(
        order_id: FromPath[str], at: At = None, axis: OnAxis = None, position: AtPosition = None
    ) -> Response[dict[str, Any]]:
        """Seconds from `at_ms` until the order is handed over: the median and the 90 % quantile.

        `eta_seconds` is the rounded median. `features` are the values that the model used, null where unknown;
        `because` says what may change the estimate by more than its 90 % quantile. `positions` are those of the last
        event of the order and of its rider, and the number of the city snapshot: with them the answer can be computed
        again from the log.

        The header Ridelog-Refolding is `true` while a part of the read model that was used is folded again.

        With `at` or `position`, the answer as of then, computed from the log alone: the city is the merge of all events
        up to that position, and `city_snapshot` is null. If the log was longer then than one request may fold: 422.
        """
        if axis == "event":
            raise ApiError(400, "unsupported_axis", "an ETA is as of what was known: no ETA was served on another axis")
        when = as_of(at, axis, position)
        return await live(order_id) if when is None else await then(order_id, when)

    return get_eta


def unknown(detail: str, headers: dict[str, str] | None = None) -> ApiError:
    return ApiError(404, "unknown_delivery", detail, headers)


async def _state_of(reader: StateReader, key: str) -> FoundState | None:
    found = await reader.get(key)
    if found is not None:
        return found
    # Again, with the fence: a shard that is refolded must not be taken for one without the key.
    again = await reader.get_with_fence(key)
    return again if isinstance(again, FoundState) else None


@lru_cache(maxsize=REMEMBERED_STATES)
def _order(data: bytes) -> OrderState | None:
    """The order of a state; None if none of its events placed it."""
    state = order_state.decode(data)
    return state if state.status else None


_rider = lru_cache(maxsize=REMEMBERED_STATES)(speed_state.decode)
