"""``GET /analytics/completion-places``: where riders really stop for a target, by place."""

from __future__ import annotations

from typing import Annotated, Any, Final

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from domain.features.legs import LEGS
from infrastructure.http.errors import ApiError, errors, unavailable
from infrastructure.http.paging import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    checked_limit,
    decode_cursor,
    encode_cursor,
    whole_number,
)
from read_models.completion.offsets import usual_offset
from read_models.completion.queries import stops_by_place
from read_models.completion.tables import NAME
from read_models.generations import BY_INDEX, fences

_ORDER: Final = "place/leg"
"""The order of the list, which its cursors name."""

MAX_STOPS: Final = 1_000_000_000


def completion_places_route(engine: Engine) -> HTTPRouteHandler:
    """To be added under ``/analytics``."""

    @get(
        "/completion-places",
        opt={"role": "read"},
        sync_to_thread=True,
        summary="Where riders really stop, by place",
        responses=errors(400, 503),
    )
    def completion_places(
        leg: Annotated[str | None, Parameter(description="only this leg", schema_extra={"enum": list(LEGS)})] = None,
        min_stops: Annotated[str, Parameter(description="only places with at least so many stops")] = "1",
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        """Sorted by place, which is the target in 10⁻⁴ degrees. `offset_known`: so many stops lie so far from the
        target that its address is wrong, and no rider's fault. A stop counts some minutes after its leg ended, when no
        ping can change it any more. `fences`: the seq of each shard up to which the sums contain every event."""
        if leg is not None and leg not in LEGS:
            raise ApiError(400, "invalid_leg", f"leg is one of {', '.join(LEGS)}")
        least = whole_number("min_stops", min_stops)
        if not 1 <= least <= MAX_STOPS:
            raise ApiError(400, "invalid_request", f"min_stops is from 1 to {MAX_STOPS:,}")
        wanted, after = checked_limit(limit), _after(cursor)
        try:
            with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
                connection.execute(BY_INDEX)
                places = fences(NAME)
                found = [dict(row) for row in connection.execute(places).mappings()]
                query = stops_by_place(leg, least, after, wanted + 1)
                rows = [dict(row) for row in connection.execute(query).mappings()]
        except SQLAlchemyError as error:
            raise unavailable("read_model_unavailable", f"Postgres: {str(error).splitlines()[0]}") from error
        items = [row | usual_offset(row) for row in rows[:wanted]]
        last = items[-1] if len(rows) > wanted else None
        return {
            "items": items,
            "next": None if last is None else encode_cursor(f"{last['place']}/{last['leg']}", _ORDER),
            "generation": found[0]["generation"] if found else None,
            "fences": {str(row["shard"]): row["seq"] for row in found},
        }

    return completion_places


def _after(cursor: str | None) -> tuple[str, str] | None:
    """Place and leg of the last row of the page before. Raises ApiError (400)."""
    text = decode_cursor(cursor, _ORDER)
    if text is None:
        return None
    place, _, leg = text.partition("/")
    return place, leg
