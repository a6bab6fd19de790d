"""The histories that the projections of each stream fold in tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from projections.catalogue import of_stream
from projections.core.projection import Projection
from tests.support.worlds.order_events import order_histories
from tests.support.worlds.rider_events import rider_histories

History = list[tuple[str, str, dict[str, Any]]]
"""(key, event type, record) in the order of the log."""

_OF_STREAM: dict[str, st.SearchStrategy[History]] = {"Rider": rider_histories, "Delivery": order_histories()}

OF_RIDERS: list[Projection[Any]] = list(of_stream("Rider").values())
"""The projections that fold riders' events, for tests whose events are pings."""


def histories_of(projection: Projection[Any]) -> st.SearchStrategy[History]:
    """Random events of the stream that the projection folds."""
    return _OF_STREAM[projection.stream]
