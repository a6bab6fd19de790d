"""A city of square blocks: where streets are, and which degrees a metre is."""

from __future__ import annotations

from math import cos, degrees, radians
from typing import NamedTuple

from domain.features.geo import EARTH_RADIUS_M


class City(NamedTuple):
    """A grid of ``blocks`` × ``blocks`` blocks centred on a point in WGS84 degrees, a street every ``block_m`` metres.

    The default is Barcelona's Eixample, whose streets are 133.3 m apart.
    """

    latitude: float = 41.3917
    longitude: float = 2.1649
    block_m: float = 133.3
    blocks: int = 16

    def corner_m(self, column: int, row: int) -> tuple[float, float]:
        """Metres east and north of the centre of the corner at ``column``, ``row``, each 0 to ``blocks``."""
        half = self.blocks * self.block_m / 2
        return column * self.block_m - half, row * self.block_m - half

    def degrees_of(self, east_m: float, north_m: float) -> tuple[float, float]:
        """Latitude and longitude of a point; on the sphere of ``haversine_mm``, flat over the size of a city."""
        latitude = self.latitude + degrees(north_m / EARTH_RADIUS_M)
        return latitude, self.longitude + degrees(east_m / (EARTH_RADIUS_M * cos(radians(self.latitude))))
