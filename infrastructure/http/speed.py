"""``GET /riders/{rider_id}/speed``: what the ETA model reads."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import MediaType, Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from infrastructure.http.errors import ApiError, unavailable
from infrastructure.http.pings import now_ms
from infrastructure.redis.reader import ReadModelUnavailable, StateReader
from read_models.speed import Limits, answer


def speed_route(reader: StateReader, limits: Limits) -> HTTPRouteHandler:
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
    ) -> dict[str, Any]:
        """Values from the rider's 10 latest pings, with their age and whether they are still worth using."""
        for name in ("at", "axis", "position"):
            if name in request.query_params:
                # Answering with the present to one who asks for the past would be believed.
                raise ApiError(400, "unsupported_parameter", f"?{name}= is not supported by this version")
        try:
            found = await reader.get(rider_id)
        except ReadModelUnavailable as error:
            raise unavailable("read_model_unavailable", str(error)) from error
        if found is None:
            raise ApiError(
                404, "unknown_rider", "no ping of this rider is served yet; one that was just posted is, in a moment"
            )
        return answer(
            rider_id,
            found.state,
            now_ms=now_ms(),
            generation=found.generation,
            limits=limits,
            allow_expired=allow_expired,
        )

    return get_speed
