"""``GET /traffic``: the traffic of street cells in the newest city snapshot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from h3.api import basic_int
from litestar import MediaType, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from domain.features.traffic.steps import CELL_RESOLUTION
from infrastructure.http.errors import ApiError, errors, unavailable
from read_models.city.snapshot import CellTraffic, CitySnapshot

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
    ) -> dict[str, Any]:
        """The newest city snapshot: its number, the clock reading `as_of_ms` and the fences of the shards merged.

        With `cells`, the traffic of these cells for all eight headings; else of all cells and headings that riders
        crossed in the last 30 minutes. `heading` 0 is north, then clockwise by 45°. `index` is free-flow pace ÷ pace: 1
        is free, 0.5 takes twice as long; null: not enough has been ridden there. `riders`: of the last 30 minutes, a
        rider counts once in each five of them.
        """
        wanted = None if cells is None else parse_cells(cells)
        snapshot = newest()
        if snapshot is None:
            raise unavailable("city_unavailable", "no city snapshot has been made yet; see `status`")
        found = (
            [snapshot.traffic_at(cell, heading) for cell, heading in snapshot.cells()]
            if wanted is None
            else [traffic for cell in wanted for traffic in snapshot.traffic_of(cell)]
        )
        content = snapshot.content
        return {
            "snapshot": snapshot.number,
            "as_of_ms": snapshot.as_of_ms,
            "fences": {"traffic": content.traffic.seqs, "orders": content.orders.seqs},
            "cells": [_row(traffic) for traffic in found],
        }

    return get_traffic


def parse_cells(text: str) -> list[int]:
    """The cells of a comma list, each once. Raises ApiError 400 (``invalid_cell``, ``out_of_range``)."""
    names = text.split(",", MAX_CELLS)
    if len(names) > MAX_CELLS:
        raise ApiError(400, "out_of_range", f"more than {MAX_CELLS} cells: ask for them in parts")
    return [_cell(name) for name in dict.fromkeys(names)]


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
