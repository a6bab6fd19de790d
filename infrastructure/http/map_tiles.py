"""``GET /map``: where the page's map gets its tiles, and what must be said of them."""

from __future__ import annotations

import msgspec
from litestar import MediaType, get
from litestar.handlers import HTTPRouteHandler

from infrastructure.http.errors import errors
from infrastructure.settings.map_tiles import MapTiles


class MapAnswer(msgspec.Struct):
    """``tiles``: the address of a tile, with {z}, {x} and {y}. ``archive``: that of a PMTiles archive, instead.

    Both null: the map has no tiles, and asks no other host. ``attribution``: what the map says of its tiles, as text.
    """

    tiles: str | None
    archive: str | None
    attribution: str


def map_route(tiles: MapTiles | None, attribution: str) -> HTTPRouteHandler:
    """The settings ``map_tiles`` and ``map_attribution``, for the page."""
    if tiles is None:
        answer = MapAnswer(None, None, "")
    elif tiles.is_archive:
        answer = MapAnswer(None, tiles.address, attribution)
    else:
        answer = MapAnswer(tiles.address, None, attribution)

    @get(
        "/map",
        media_type=MediaType.JSON,
        opt={"role": "read"},
        sync_to_thread=False,
        summary="Where the map's tiles come from",
        responses=errors(),
        tags=["health"],
    )
    def get_map() -> MapAnswer:
        """The settings `map_tiles` and `map_attribution`. Without the first, the page asks no host but this one."""
        return answer

    return get_map
