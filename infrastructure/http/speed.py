"""``GET /riders/{rider_id}/speed``: the features that the ETA model reads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from litestar import MediaType, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, Parameter

from domain.features.speed.window import SpeedState
from infrastructure.http.errors import ApiError, errors, unavailable
from infrastructure.http.hot_route import HotRoute, ReadyAnswer
from infrastructure.http.time_travel import At, AtPosition, OnAxis, as_of, read_past
from infrastructure.observability.lag import silence_cause
from infrastructure.redis.state_reader import FoundState, MissingState, ReadModelUnavailable, StateReader
from infrastructure.replay.past_reads import PastKeys
from infrastructure.timestamps import now_ms
from projections.parity.served_reads import ServedRead
from projections.replay.as_of import AsOf
from read_models.speed.view import answer, features, row
from read_models.view import ViewLimits, body_of

OnServed = Callable[[ServedRead], None]
"""Called for every live answer, with the exact bytes that are sent. Never waits, never raises."""


def speed_route(
    reader: StateReader,
    past: PastKeys[SpeedState],
    limits: ViewLimits,
    delay_ms: Callable[[], int | None],
    on_served: OnServed,
) -> HTTPRouteHandler:
    """``delay_ms`` returns the present delay of the pipeline, None if it is unknown."""

    async def then(rider_id: str, when: AsOf, allow_expired: bool) -> Response[dict[str, Any]]:
        try:
            horizon, found = await read_past(when, partial(past.at, rider_id, when))
            generation = await reader.generation()
        except ReadModelUnavailable as error:
            raise unavailable("read_model_unavailable", str(error)) from error
        # The position of the log that the answer used: with it, a query on the axis event can be repeated exactly.
        headers = {"Ridelog-Position": str(horizon.position)}
        if found is None or found.state is None:
            raise ApiError(404, "unknown_rider", "no event of this rider counts as of then", headers)
        values = row(rider_id, features(found.state), horizon.at_ms, limits, allow_expired)
        encoded: Any = body_of(values | {"generation": generation})
        return Response(encoded, media_type=MediaType.JSON, headers=headers)

    @HotRoute(
        "/riders/{rider_id:str}/speed",
        http_method="GET",
        media_type=MediaType.JSON,
        opt={"role": "read"},
        summary="The rider's speed now",
        responses=errors(400, 404, 422, 503),
        tags=["features"],
    )
    async def get_speed(
        rider_id: FromPath[str],
        allow_expired: Annotated[
            bool, Parameter(description="show the values of an expired window too, as for imported history")
        ] = False,
        at: At = None,
        axis: OnAxis = None,
        position: AtPosition = None,
    ) -> Response[dict[str, Any]]:
        """Values from the rider's 10 latest pings, with their age and status.

        The header Ridelog-Silent says why an age is high: `rider` (no ping arrived), `pipeline` (the pipeline is late,
        or its delay is unknown); else `no`. Ridelog-Pipeline-Delay-Ms: the delay of the pipeline, if it is known.

        The header Ridelog-Refolding is `true` while this part of the read model does not match the log and is refolded:
        the values are the earlier ones. A rider that is not among them gets 503, since 404 could be wrong.

        With `at` or `position`, the answer as of then, computed from the event store by the fold that serves; `age_ms`
        and `status` are relative to then. Ridelog-Position: the last position of the log that the answer includes.
        """
        when = as_of(at, axis, position)
        if when is not None:
            return await then(rider_id, when, allow_expired)
        try:
            found: FoundState | MissingState | None = await reader.get(rider_id)
            if found is None:
                found = await reader.get_with_fence(rider_id)
        except ReadModelUnavailable as error:
            raise unavailable("read_model_unavailable", str(error)) from error
        late_ms = delay_ms()
        if not isinstance(found, FoundState):
            if found is not None:
                # Record it: if the log has the rider at that position, the audit finds that its state was lost.
                place = (found.generation, 0, found.position)
                on_served(ServedRead(rider_id, *place, now_ms(), limits, allow_expired, b""))
            raise ApiError(
                404,
                "unknown_rider",
                "no ping of this rider is served yet; one that was just posted will be, in a moment",
                _delay_headers(None, late_ms, limits),
            )
        read_ms = now_ms()
        values = answer(
            rider_id,
            found.state,
            now_ms=read_ms,
            generation=found.generation,
            limits=limits,
            allow_expired=allow_expired,
        )
        body = body_of(values)
        place = (found.generation, values["version"], values["position"])
        on_served(ServedRead(rider_id, *place, read_ms, limits, allow_expired, body))
        headers = _delay_headers(values["age_ms"], late_ms, limits)
        if found.refolding:
            headers["Ridelog-Refolding"] = "true"
        # The exact bytes that are recorded.
        return ReadyAnswer(body, headers)

    return get_speed


def _delay_headers(age_ms: int | None, late_ms: int | None, limits: ViewLimits) -> dict[str, str]:
    """The headers that distinguish a silent rider from a late pipeline."""
    headers = {"Ridelog-Silent": silence_cause(age_ms, late_ms, limits.target_freshness_ms)}
    if late_ms is not None:
        headers["Ridelog-Pipeline-Delay-Ms"] = str(late_ms)
    return headers
