"""Distances on the sphere, in whole millimetres: sums of integers do not depend on their order (invariant 6)."""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the WGS84 ellipsoid, (2a + b) / 3."""


def haversine_mm(latitude1: float, longitude1: float, latitude2: float, longitude2: float) -> int:
    """Great-circle distance between two points in WGS84 degrees, rounded half to even.

    2R·asin(√(sin²(Δφ/2) + cos φ₁ · cos φ₂ · sin²(Δλ/2))); R. W. Sinnott, "Virtues of the Haversine", 1984.
    """
    phi1, phi2 = radians(latitude1), radians(latitude2)
    h = sin((phi2 - phi1) / 2) ** 2 + cos(phi1) * cos(phi2) * sin(radians(longitude2 - longitude1) / 2) ** 2
    # Rounding may carry h past 1 for antipodes, where asin has no value.
    return round(2000.0 * EARTH_RADIUS_M * asin(min(1.0, sqrt(h))))
