"""``GET /deliveries/{order_id}/eta``: when an order will be handed over, with the evidence of the answer."""

from __future__ import annotations

from typing import Any

from litestar import MediaType, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from infrastructure.http.errors import ApiError, errors
from infrastructure.http.eta_answers import EtaAnswers
from infrastructure.http.hot_route import HotRoute, ReadyAnswer
from infrastructure.http.time_travel import At, AtPosition, OnAxis, as_of


def eta_route(answers: EtaAnswers) -> HTTPRouteHandler:
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

        The first live answer of each leg of an order is also an event of its stream, `EtaServed`.
        """
        if axis == "event":
            raise ApiError(400, "unsupported_axis", "an ETA is as of what was known: no ETA was served on another axis")
        when = as_of(at, axis, position)
        answer = await (answers.live(order_id) if when is None else answers.then(order_id, when))
        return ReadyAnswer(answer.body, answer.headers)

    return get_eta
