"""``GET /traffic``: the traffic of street cells in the newest city snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any

from h3.api import basic_int
from litestar import MediaType, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from domain.features.traffic.steps import CELL_RESOLUTION
from infrastructure.http.errors import ApiError, errors, unavailable
from read_models.city.snapshot import CellTraffic, CitySnapshot
from read_models.view import body_of

MAX_CELLS = 200
MAX_CELL_CHARS = 16


def traffic_route(newest: Callable[[], CitySnapshot | None]) -> HTTPRouteHandler:
    """``newest`` returns the newest city snapshot that this process has; None before the first."""

    @get(
        "/traffic",
        media_type=MediaType.JSON,
        opt={"role": "read"},
        summary="Traffic by street cell",
        responses=errors(400, 503),
        tags=["features"],
    )
    async def get_traffic(
        cells: Annotated[
            str | None, Parameter(description=f"H3 cells of resolution {CELL_RESOLUTION}, at most {MAX_CELLS}: a,b,c")
        ] = None,
        outlines: Annotated[bool, Parameter(description="add the corners of each cell, for a map")] = False,
    ) -> Response[dict[str, Any]]:
        """The newest city snapshot: its number, the clock reading `as_of_ms` and the fences of the shards merged.

        With `cells`, the traffic of these cells for all eight headings; else of all cells and headings that riders
        crossed in the last 30 minutes. `heading` 0 is north, then clockwise by 45°. `index` is free-flow pace ÷ pace: 1
        is free, 0.5 takes twice as long; null: not enough has been ridden there. `riders`: those of the five minutes
        with the most of the last 30.

        With `outlines=true`, `outlines` has the corners of each cell, `{cell: [[latitude, longitude], …]}`.
        """
        wanted = None if cells is None else parse_cells(cells)
        snapshot = newest()
        if snapshot is None:
            raise unavailable("city_unavailable", "no city snapshot has been made yet; see `status`")
        body: Any = (
            await asyncio.to_thread(_whole, snapshot, outlines)
            if wanted is None
            else _of_cells(snapshot, wanted, outlines)
        )
        return Response(body, media_type=MediaType.JSON)

    return get_traffic


def parse_cells(text: str) -> list[int]:
    """The cells of a comma list, each once. Raises ApiError 400 (``invalid_cell``, ``out_of_range``)."""
    names = text.split(",", MAX_CELLS)
    if len(names) > MAX_CELLS:
        raise ApiError(400, "out_of_range", f"more than {MAX_CELLS} cells: ask for them in parts")
    return list(dict.fromkeys(_cell(name) for name in names))


@lru_cache(maxsize=2)
def _whole(snapshot: CitySnapshot, outlines: bool) -> bytes:
    """The body with all cells, made once a snapshot and in a thread: a city of 20,000 rows takes 60 ms, for which every
    other request of the loop would wait."""
    return _body(snapshot, [snapshot.traffic_at(cell, heading) for cell, heading in snapshot.cells()], outlines)


def _of_cells(snapshot: CitySnapshot, cells: list[int], outlines: bool) -> bytes:
    return _body(snapshot, [traffic for cell in cells for traffic in snapshot.traffic_of(cell)], outlines)


def _body(snapshot: CitySnapshot, found: list[CellTraffic], outlines: bool) -> bytes:
    content = snapshot.content
    corners = {"outlines": {f"{cell:x}": _outline(cell) for cell in {one.cell for one in found}}} if outlines else {}
    return body_of(
        {
            "snapshot": snapshot.number,
            "as_of_ms": snapshot.as_of_ms,
            "fences": {"traffic": content.traffic.seqs, "orders": content.orders.seqs},
            "cells": [_row(traffic) for traffic in found],
            **corners,
        }
    )


@lru_cache(maxsize=65_536)
def _outline(cell: int) -> list[list[float]]:
    """The corners in degrees, to 1 m."""
    return [[round(latitude, 5), round(longitude, 5)] for latitude, longitude in basic_int.cell_to_boundary(cell)]


def _cell(name: str) -> int:
    # The length first, and hexadecimal digits alone: int() accepts signs, spaces and underscores too.
    if 0 < len(name) <= MAX_CELL_CHARS and name.isascii() and name.isalnum():
        try:
            cell = int(name, 16)
        except ValueError:
            cell = 0
        if basic_int.is_valid_cell(cell) and basic_int.get_resolution(cell) == CELL_RESOLUTION:
            return cell
    raise ApiError(
        400, "invalid_cell", f"{name[:MAX_CELL_CHARS]!r} is no H3 cell of resolution {CELL_RESOLUTION}, in hexadecimal"
    )


def _row(traffic: CellTraffic) -> dict[str, Any]:
    return {
        "cell": f"{traffic.cell:x}",
        "heading": traffic.heading,
        "pace_s_per_km": traffic.pace_s_per_km,
        "index": traffic.traffic_index,
        "riders": traffic.riders,
    }
