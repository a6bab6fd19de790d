"""Bytes that an older version stored are still read, and the same events still give the same bytes (invariant 12).

Most literals of ``stored_bytes`` were written by the last commit before modules and classes were renamed; those of the
second contracts by the commit that released them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from struct import pack
from typing import Any

import pytest
from eventsourcing.domain import Snapshot
from eventsourcing.persistence import DatetimeAsISO, DecimalAsStr, JSONTranscoder, StoredEvent, UUIDAsHex

from domain.events.contracts import Codec
from domain.features.keyed_event import KeyedEvent
from domain.features.latest_location import LocationFix, LocationState
from domain.features.legs import OpenLeg
from domain.features.rider_hours import Maxima, RiderHours, TrackFix
from domain.features.speed.window import SpeedState, WindowPing
from domain.features.traffic.fold import BucketSums, CellSum, TrafficState
from domain.gps_ping import GpsPing, parse_ping
from domain.origin import Origin
from domain.riders.commands import CloseStatement, ReviewAlert
from domain.riders.leg import Leg
from domain.riders.rider import Rider
from infrastructure.event_store.aggregates import AvroMapper
from infrastructure.redis.projection_sink import decode_fence, encode_fence
from infrastructure.sinks.published_checkpoints import PublishedCheckpoint, decode_checkpoint, encode_checkpoint
from projections.catalogue import PROJECTIONS
from projections.core.parked_keys import decode_parked_event, encode_parked_event
from projections.core.ports import Fence
from projections.core.projection import Projection
from read_models.speed import view as speed
from read_models.view import ViewLimits, body_of
from tests.unit.core.stored_bytes import (
    BODIES,
    EVENTS,
    EVENTS_OF_PEOPLE,
    EVENTS_V2,
    EVENTS_V3,
    FENCE,
    FENCE_BYTES,
    PUBLISHED_LOCATION,
    RIDER_ID,
    SNAPSHOT_V1,
    SNAPSHOT_V2,
    SNAPSHOT_V3,
    SPEED_OF_FOLD_2,
    STATES,
    T_MS,
    StoredSchemaIds,
)

CAUSE = "1fb71c08-8a09-5d70-b4ab-84c09cfc2083"
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


@pytest.fixture
def mapper(codec: Codec) -> AvroMapper:
    transcoder = JSONTranscoder()
    for transcoding in (UUIDAsHex(), DecimalAsStr(), DatetimeAsISO()):
        transcoder.register(transcoding)
    return AvroMapper(transcoder, codec)


def a_ping(number: int, t_ms: int, received_ms: int, latitude: float, longitude: float, **fields: Any) -> GpsPing:
    item = {
        "rider_id": "anna",
        "event_timestamp_ms": T_MS + t_ms,
        "event_id": f"0b7e9d1c-3f6a-4f0e-8f65-{number:012x}",
        "latitude": latitude,
        "longitude": longitude,
        **fields,
    }
    return parse_ping(item, T_MS + received_ms)


def a_rider() -> Rider:
    """A rider with a late ping, an imprecise one and one from a clock that is ahead."""
    rider = Rider.register("anna", T_MS, Origin(command_id="c-1", caused_by=CAUSE))
    rider.start_shift(T_MS + 1_000, Origin(command_id="c-2"))
    rider.record_ping(a_ping(1, 5_000, 6_000, 52.5, 13.4, accuracy_meters=5.0, speed_mps=4.25), {})
    rider.record_ping(a_ping(2, 15_000, 15_500, 52.5005, 13.4005), {})
    late = a_ping(3, 10_000, 400_000, 52.50026, 13.40024, accuracy_meters=8.5, source_service="courier-app")
    rider.record_ping(late, {})
    leg = Leg("order-7", "to_restaurant", 52.51, 13.41, "Berlin", "Europe/Berlin", "EUR", 2_400)
    rider.start_leg(leg, T_MS + 18_000, Origin(0, "shop", "key", "28fba95e4c85915c5b7dfa8fc931c68f", CAUSE))
    rider.record_ping(a_ping(4, 20_000, 20_500, 52.6, 13.5, accuracy_meters=80.0), {})
    rider.record_ping(a_ping(5, 55_000, 30_000, 52.5012, 13.4013, accuracy_meters=6.0, speed_mps=5.5), {})
    return rider


def a_rider_of_people() -> Rider:
    """The same rider after a review and a closed statement."""
    rider = a_rider()
    common: dict[str, Any] = {"rider_id": "anna", "by": "mara", "source_service": "desk", "command_id": "key"}
    alert = "5f0e8f65-2b1f-5a8d-9c6e-0b7e9d1c3f6a"
    rider.review_alert(
        ReviewAlert(**common, received_ms=T_MS + 60_000, alert_id=alert, verdict="cleared", why="a tunnel")
    )
    common |= {"command_id": None, "at_ms": T_MS + 70_000}
    rider.close_statement(CloseStatement(**common, received_ms=T_MS + 75_000, period="2026-W38", currency="EUR"))
    return rider


def folded(projection: Projection[Any], codec: Codec, events: Sequence[tuple[str, bytes]]) -> Any:
    state = projection.initial
    for version, (event_type, payload) in enumerate(events, start=1):
        event = KeyedEvent("anna", version, 98 + 3 * version, event_type, codec.decode(payload))
        state = projection.fold(state, event)
    return state


def state_of(rider: Rider) -> dict[str, Any]:
    return {name: value for name, value in vars(rider).items() if name != "_pending_events"}


def rider_of(events: Sequence[tuple[str, bytes]], mapper: AvroMapper) -> Any:
    rider: Any = None
    for version, (topic, payload) in enumerate(events, start=1):
        event: Any = mapper.to_domain_event(StoredEvent(RIDER_ID, version, topic, payload))
        rider = event.mutate(rider)
    return rider


def test_the_same_commands_give_the_stored_payloads(mapper: AvroMapper) -> None:
    stored = [mapper.to_stored_event(event) for event in a_rider().collect_events()]

    assert [(event.topic, event.state) for event in stored] == list(EVENTS_V3)


@pytest.mark.parametrize("events", [EVENTS, EVENTS_V2, EVENTS_V3], ids=["of first contracts", "of second", "of third"])
def test_a_stored_payload_gives_the_rider_of_the_commands(
    events: Sequence[tuple[str, bytes]], mapper: AvroMapper
) -> None:
    assert state_of(rider_of(events, mapper)) == state_of(a_rider())


def test_the_same_commands_of_people_give_the_stored_payloads(mapper: AvroMapper) -> None:
    stored = [mapper.to_stored_event(event) for event in a_rider_of_people().collect_events()[-2:]]

    assert [(event.topic, event.state) for event in stored] == list(EVENTS_OF_PEOPLE)
    assert state_of(rider_of(EVENTS_V3 + EVENTS_OF_PEOPLE, mapper)) == state_of(a_rider_of_people())


def test_a_payload_of_a_current_contract_is_encoded_to_the_same_bytes(mapper: AvroMapper) -> None:
    for version, (topic, payload) in enumerate(EVENTS_V3 + EVENTS_OF_PEOPLE, start=1):
        event = mapper.to_domain_event(StoredEvent(RIDER_ID, version, topic, payload))
        assert mapper.to_stored_event(event).state == payload


@pytest.mark.parametrize("stored", [SNAPSHOT_V1, SNAPSHOT_V2], ids=["of one leg", "of several legs"])
def test_a_stored_snapshot_gives_the_rider_of_the_commands(stored: StoredEvent, mapper: AvroMapper) -> None:
    snapshot: Any = mapper.to_domain_event(stored)

    rider = snapshot.mutate(None)

    assert type(rider) is Rider
    assert state_of(rider) == state_of(a_rider())
    assert mapper.to_stored_event(snapshot) == stored


def test_a_stored_snapshot_of_a_reviewed_rider_gives_the_rider_of_the_commands(mapper: AvroMapper) -> None:
    snapshot: Any = mapper.to_domain_event(SNAPSHOT_V3)

    assert state_of(snapshot.mutate(None)) == state_of(a_rider_of_people())
    assert mapper.to_stored_event(snapshot) == SNAPSHOT_V3


def test_a_stored_snapshot_of_a_rider_without_a_leg_is_read(mapper: AvroMapper) -> None:
    no_leg = SNAPSHOT_V1.state.replace(b'["order-7","to_restaurant"]', b"null")
    assert no_leg != SNAPSHOT_V1.state

    snapshot: Any = mapper.to_domain_event(replace(SNAPSHOT_V1, state=no_leg))

    assert snapshot.mutate(None).legs == []


def test_a_snapshot_taken_now_differs_in_its_time_alone(mapper: AvroMapper) -> None:
    taken = mapper.to_stored_event(Snapshot.take(a_rider_of_people()))

    head, rest = SNAPSHOT_V3.state.split(b"},", 1)
    assert (taken.topic, taken.originator_version) == (SNAPSHOT_V3.topic, SNAPSHOT_V3.originator_version)
    assert taken.state.split(b"},", 1)[1] == rest
    assert len(taken.state) == len(head) + len(rest) + 2


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


@pytest.mark.parametrize(
    ("data", "fence"),
    [(FENCE_BYTES, FENCE), (FENCE_BYTES.rpartition(b" ")[0], FENCE._replace(event=""))],
    ids=["with the event's digest", "without it"],
)
def test_a_fence_in_redis_is_read(data: bytes, fence: Fence) -> None:
    assert decode_fence(data) == fence
    assert encode_fence(fence) == data


@pytest.mark.parametrize(
    ("text", "checkpoint"),
    [
        (
            "7 6f9619ff-8b86-4d01-b42d-00cf4fc964ff 9f86d081884c4d659a2feaa0c55ad015 8 122/a1b2c3d4e5f60718 "
            "Zb3kQ7mRTVOa8n2cX0pL5w",
            PublishedCheckpoint(7, FENCE, "Zb3kQ7mRTVOa8n2cX0pL5w"),
        ),
        (
            "7 6f9619ff-8b86-4d01-b42d-00cf4fc964ff 9f86d081884c4d659a2feaa0c55ad015 8 122 rider-locations of 6f96",
            PublishedCheckpoint(7, FENCE._replace(event=""), "rider-locations of 6f96"),
        ),
    ],
    ids=["with the event's digest", "without it"],
)
def test_a_published_checkpoint_is_read(text: str, checkpoint: PublishedCheckpoint) -> None:
    assert decode_checkpoint(text.encode()) == checkpoint
    assert encode_checkpoint(checkpoint) == text


def test_a_parked_event_is_read() -> None:
    text = (
        '{"seq":8,"position":122,"version":7,"event_type":"GpsPing","kind":"decode",'
        r'"reason":"UndecodableError: \u201ecut short\" at 5 bytes","parked_at_ms":1790000000000}'
    )

    parked = decode_parked_event(text)

    assert parked._asdict() == {
        "seq": 8,
        "position": 122,
        "version": 7,
        "event_type": "GpsPing",
        "kind": "decode",
        "reason": 'UndecodableError: „cut short" at 5 bytes',
        "parked_at_ms": T_MS,
    }
    assert encode_parked_event(parked) == text
