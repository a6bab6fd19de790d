"""States that an older version stored are read and served, and the same events fold to the same bytes (invariant 12).

The literals of ``stored_bytes`` were written by the last commit before modules and classes were renamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack
from typing import Any

import pytest

from domain.events.contracts import Codec
from domain.features.keyed_event import KeyedEvent
from domain.features.latest_location import LocationFix, LocationState
from domain.features.legs import OpenLeg
from domain.features.rider_hours import Maxima, RiderHours, TrackFix
from domain.features.speed.window import SpeedState, WindowPing
from domain.features.traffic.fold import BucketSums, CellSum, TrafficState
from projections.catalogue import PROJECTIONS
from projections.core.projection import Projection
from read_models.speed import view as speed
from read_models.view import ViewLimits, body_of
from tests.unit.core.stored_bytes import (
    BODIES,
    EVENTS,
    EVENTS_OF_PEOPLE,
    EVENTS_V2,
    EVENTS_V3,
    PUBLISHED_LOCATION,
    SPEED_OF_FOLD_2,
    STATES,
    T_MS,
    StoredSchemaIds,
)

_IDS = tuple(f"0b7e9d1c3f6a4f0e8f65{number:012x}" for number in range(6))
DECODED: dict[str, Any] = {
    "speed": SpeedState(
        8,
        122,
        5,
        0,
        (
            WindowPing(T_MS + 5_000, _IDS[1], 52.5, 13.4, 5.0, 4.25),
            WindowPing(T_MS + 10_000, _IDS[3], 52.50026, 13.40024, 8.5, None),
            WindowPing(T_MS + 15_000, _IDS[2], 52.5005, 13.4005, None, None),
            WindowPing(T_MS + 20_000, _IDS[4], 52.6, 13.5, 80.0, None),
            WindowPing(T_MS + 30_000, _IDS[5], 52.5012, 13.4013, 6.0, 5.5, 25_000),
        ),
        legs=(OpenLeg("order-7", "to_restaurant", 52.51, 13.41, T_MS + 18_000),),
    ),
    "locations": LocationState(8, 122, LocationFix(T_MS + 30_000, _IDS[5], 52.5012, 13.4013, 6.0, 25_000)),
    "analytics": RiderHours(
        8,
        122,
        (
            TrackFix(T_MS + 5_000, bytes.fromhex(_IDS[1]), 52.5, 13.4, 0),
            TrackFix(T_MS + 10_000, bytes.fromhex(_IDS[3]), 52.50026, 13.40024, 33_163),
            TrackFix(T_MS + 15_000, bytes.fromhex(_IDS[2]), 52.5005, 13.4005, 31_968),
            TrackFix(T_MS + 30_000, bytes.fromhex(_IDS[5]), 52.5012, 13.4013, 94_821, 25_000),
        ),
        Maxima(0, 0, 0),
        Maxima(497_222, 6_632, 15_000),
    ),
    "traffic": TrafficState(
        8,
        122,
        0,
        b"".join(
            pack(">qii", T_MS + after_ms, *place)
            for after_ms, *place in (
                (5_000, 525_000_000, 134_000_000),
                (10_000, 525_002_600, 134_002_400),
                (30_000, 525_012_000, 134_013_000),
            )
        ),
        (BucketSums(T_MS // 300_000, (CellSum(0x881F1D48B7FFFFF, 1, 25_000, 159_944),)),),
    ),
}
every_projection = pytest.mark.parametrize("name", sorted(STATES))


@pytest.fixture
def codec() -> Codec:
    return Codec(StoredSchemaIds())


def folded(projection: Projection[Any], codec: Codec, events: Sequence[tuple[str, bytes]]) -> Any:
    state = projection.initial
    for version, (event_type, payload) in enumerate(events, start=1):
        event = KeyedEvent("anna", version, 98 + 3 * version, event_type, codec.decode(payload))
        state = projection.fold(state, event)
    return state


@every_projection
def test_a_stored_state_is_decoded_and_encoded_to_the_same_bytes(name: str) -> None:
    projection = PROJECTIONS[name]

    state = projection.decode(STATES[name])

    assert state == DECODED[name]
    assert projection.encode(state) == STATES[name]


@every_projection
def test_the_same_events_fold_to_the_stored_bytes(name: str, codec: Codec) -> None:
    projection = PROJECTIONS[name]

    for events in (EVENTS, EVENTS_V2, EVENTS_V3):
        assert projection.encode(folded(projection, codec, events)) == STATES[name]


@every_projection
def test_a_fold_that_knows_no_people_passes_over_what_they_record(name: str, codec: Codec) -> None:
    projection = PROJECTIONS[name]

    state = folded(projection, codec, EVENTS_V3 + EVENTS_OF_PEOPLE)

    assert (state.version, state.position) == (10, 128)
    assert state._replace(version=8, position=122) == DECODED[name]


def test_the_state_that_fold_2_of_speed_stored_is_served_until_a_rebuild_has_switched() -> None:
    state = PROJECTIONS["speed"].decode(SPEED_OF_FOLD_2)

    assert state == DECODED["speed"]._replace(legs=())
    row = speed.VIEW.row("anna", speed.VIEW.features(state), T_MS + 36_789, ViewLimits(), False)
    assert body_of(row | {"generation": 7}) == BODIES["speed"]


@pytest.mark.parametrize("name", sorted(BODIES))
def test_a_stored_state_is_served_as_the_stored_body(name: str) -> None:
    projection = PROJECTIONS[name]
    view = projection.view
    assert view is not None

    row = view.row("anna", view.features(projection.decode(STATES[name])), T_MS + 36_789, ViewLimits(), False)

    assert body_of(row | {"generation": 7}) == BODIES[name]


def test_a_published_location_is_the_record_of_the_stored_state(codec: Codec) -> None:
    publication = PROJECTIONS["locations"].publication
    assert publication is not None
    values = publication.values("anna", PROJECTIONS["locations"].decode(STATES["locations"]))
    assert values is not None

    assert codec.decode(PUBLISHED_LOCATION) == values
    assert codec.encode(publication.record, values) == PUBLISHED_LOCATION
