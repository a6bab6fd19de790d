"""The histories that the projections of each stream fold in tests."""

from __future__ import annotations

from itertools import islice
from typing import Any

from hypothesis import strategies as st

from projections.catalogue import of_stream
from projections.core.projection import Projection
from tests.support.worlds import leg_events, phone
from tests.support.worlds.order_events import order_histories
from tests.support.worlds.rider_events import RIDERS, rider_histories

Event = tuple[str, str, dict[str, Any]]
History = list[Event]
"""(key, event type, record) in the order of the log."""

_OF_ORDER = {"city": "", "time_zone": "Europe/Berlin", "currency": "EUR", "promised_seconds": None}
_FAR_AWAY = leg_events.ping(900, 3_000, speed=6.0)
"""It makes final what ended before."""

STORIES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "an alert of spoofing": [
        (kind, data)
        for _, kind, data in (
            *phone.ride(0, 60),
            *(phone.ping(60 + 5 * n, 300 + 25 * n, 3_000, is_mock=True) for n in range(6)),
        )
    ],
    "a case of completion": [
        leg_events.started(),
        *leg_events.rest(0, 300, 2_000, every_s=20.0),
        leg_events.ended(298),
        _FAR_AWAY,
    ],
    "a stop at a place": [
        leg_events.started(),
        *leg_events.ride(0, 100, 600, 0, every_s=10.0),
        *leg_events.rest(100, 200, every_s=10.0),
        leg_events.ended(198),
        _FAR_AWAY,
    ],
}
"""What a rider does that random events never do: each makes rows that come of many events together."""


def _events_of(story: list[tuple[str, dict[str, Any]]], rider: str) -> History:
    received = {"received_timestamp_ms": 0}
    return [
        (rider, kind, received | (_OF_ORDER if kind == "LegStarted" else {}) | data | {"rider_id": rider})
        for kind, data in story
    ]


@st.composite
def _with_a_story(draw: st.DrawFn) -> History:
    """A story of one rider among random events, of the same rider too."""
    rest = iter(_events_of(draw(st.sampled_from(list(STORIES.values()))), draw(st.sampled_from(RIDERS))))
    found: History = []
    for event in draw(rider_histories):
        found += [*islice(rest, draw(st.integers(0, 3))), event]
    return [*found, *rest]


_OF_STREAM: dict[str, st.SearchStrategy[History]] = {
    "Rider": st.one_of(rider_histories, _with_a_story()),
    "Delivery": order_histories(),
}

OF_RIDERS: list[Projection[Any]] = list(of_stream("Rider").values())
"""The projections that fold riders' events, for tests whose events are pings."""


def histories_of(projection: Projection[Any]) -> st.SearchStrategy[History]:
    """Random events of the stream that the projection folds."""
    return _OF_STREAM[projection.stream]
