"""``GET /analytics/completion-places``: where riders really stop for a target, by place."""

from __future__ import annotations

from typing import Annotated, Any, Final

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter
from sqlalchemy import Engine

from domain.features.legs import LEGS
from infrastructure.http.errors import ApiError, errors
from infrastructure.http.live_rows import LiveRows
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
        with LiveRows(engine, NAME) as read:
            rows = read.rows(stops_by_place(leg, least, after, wanted + 1))
            place, known = read.place(), read.fences()
        items = [row | usual_offset(row) for row in rows[:wanted]]
        following = None
        if len(rows) > wanted:
            following = encode_cursor(f"{items[-1]['place']}/{items[-1]['leg']}", _ORDER)
        return {"items": items, "next": following, **place, "fences": known}

    return completion_places


def _after(cursor: str | None) -> tuple[str, str] | None:
    """Place and leg of the last row of the page before. Raises ApiError (400)."""
    text = decode_cursor(cursor, _ORDER)
    if text is None:
        return None
    place, _, leg = text.partition("/")
    return place, leg
