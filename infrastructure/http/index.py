"""``GET /``: where to go from here."""

from __future__ import annotations

from typing import Final

from litestar import get

from infrastructure.http.described import errors

LINKS: Final = {
    "health": "/health/ready",
    "schema": "/schema",
    "metrics": "/metrics",
    "pings": "/pings",
    "speed": "/riders/{rider_id}/speed",
}


@get("/", summary="Links to the rest", tags=["health"], responses=errors(public=True))
async def index() -> dict[str, str | dict[str, str]]:
    """Needs no token: it says nothing that the description under ``/schema`` does not."""
    return {"service": "ridelog", "links": LINKS}
