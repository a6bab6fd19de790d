"""``GET /riders/{rider_id}/speed``: what the ETA model reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from litestar import MediaType, Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from infrastructure.http.errors import ApiError, unavailable
from infrastructure.http.pings import now_ms
from infrastructure.observability.freshness import silent
from infrastructure.redis.reader import ReadModelUnavailable, StateReader
from projections.served import ServedRead
from read_models.speed import answer
from read_models.view import Limits, body_of

Served = Callable[[ServedRead], None]
"""Told of every live answer, with the very bytes that are sent. Never waits, never raises."""


def speed_route(
    reader: StateReader, limits: Limits, delay_ms: Callable[[], int | None], served: Served
) -> HTTPRouteHandler:
    """``delay_ms``: how late the pipeline is, as far as it is known now."""

    @get(
        "/riders/{rider_id:str}/speed",
        media_type=MediaType.JSON,
        opt={"role": "read"},
        summary="The rider's speed now",
        tags=["features"],
    )
    async def get_speed(
        request: Request[Any, Any, Any],
        rider_id: str,
        allow_expired: Annotated[
            bool, Parameter(description="show the values of a window past its time to live, as for imported history")
        ] = False,
    ) -> Response[dict[str, Any]]:
        """Values from the rider's 10 latest pings, with their age and whether they are still worth using.

        The header Ridelog-Silent says why an age is high: `rider` (no ping came), `pipeline` (it is late itself, or
        nobody knows); else `no`. Ridelog-Pipeline-Delay-Ms: how late it is, if that is known.
        """
        for name in ("at", "axis", "position"):
            if name in request.query_params:
                # Answering with the present to one who asks for the past would be believed.
                raise ApiError(400, "unsupported_parameter", f"?{name}= is not supported by this version")
        try:
            found = await reader.get(rider_id)
        except ReadModelUnavailable as error:
            raise unavailable("read_model_unavailable", str(error)) from error
        late_ms = delay_ms()
        if found is None:
            raise ApiError(
                404,
                "unknown_rider",
                "no ping of this rider is served yet; one that was just posted is, in a moment",
                _why(None, late_ms, limits),
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
        at = (values["version"], values["position"])
        served(ServedRead(rider_id, found.generation, *at, read_ms, limits, allow_expired, body))
        # The very bytes that are on record; declared as what they say, for the OpenAPI description.
        encoded: Any = body
        return Response(encoded, media_type=MediaType.JSON, headers=_why(values["age_ms"], late_ms, limits))

    return get_speed


def _why(age_ms: int | None, late_ms: int | None, limits: Limits) -> dict[str, str]:
    """The headers that tell a silent rider from a late pipeline."""
    headers = {"Ridelog-Silent": silent(age_ms, late_ms, limits.target_freshness_ms)}
    if late_ms is not None:
        headers["Ridelog-Pipeline-Delay-Ms"] = str(late_ms)
    return headers
