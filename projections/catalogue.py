"""All projections. A new consumer of the log is one line here, its fold and its read model."""

from __future__ import annotations

from typing import Any

from projections.analytics import ANALYTICS
from projections.calibration import CALIBRATION
from projections.completion import COMPLETION
from projections.core.projection import Projection
from projections.deliveries import DELIVERIES
from projections.digest.names import capture_sources
from projections.locations import LOCATIONS
from projections.orders import ORDERS
from projections.outcomes import OUTCOMES
from projections.payouts import PAYOUTS
from projections.speed import SPEED
from projections.spoofing import SPOOFING
from projections.traffic import TRAFFIC

PROJECTIONS: dict[str, Projection[Any]] = {
    p.name: p
    for p in (
        SPEED,
        LOCATIONS,
        ANALYTICS,
        DELIVERIES,
        ORDERS,
        TRAFFIC,
        CALIBRATION,
        PAYOUTS,
        SPOOFING,
        OUTCOMES,
        COMPLETION,
    )
}


def of_stream(stream: str) -> dict[str, Projection[Any]]:
    """The projections that fold the events of ``stream``, by name."""
    return {name: projection for name, projection in PROJECTIONS.items() if projection.stream == stream}


# Most processes need few digests, so only the sources are read at import, while they are those that were loaded.
capture_sources()
