"""Windows of a rider on a straight line, without any error."""

from __future__ import annotations

import math
from collections.abc import Sequence

from domain.features.speed.window import WindowPing

START_MS = 1_790_000_000_000
METRES_PER_DEGREE = 6_371_008.8 * math.pi / 180
INTERVALS_S = [1, 2, 3, 5, 10, 15]


def ride(
    metres_east: Sequence[float],
    interval_s: float = 5,
    *,
    accuracy_m: float | None = 5.0,
    speed_mps: float | None = None,
    latitude: float = 0.0,
    longitude: float = 0.0,
) -> list[WindowPing]:
    """One ping every ``interval_s``, at these distances to the east of the first, without any error."""
    scale = METRES_PER_DEGREE * math.cos(math.radians(latitude))
    return [
        WindowPing(
            START_MS + round(i * interval_s * 1000),
            f"{i:032x}",
            latitude,
            (longitude + metres / scale + 180) % 360 - 180,
            accuracy_m,
            speed_mps,
        )
        for i, metres in enumerate(metres_east)
    ]
