"""Events and snapshots of a rider that an older version stored are read, and its commands give the same bytes.

Most literals of ``stored_bytes`` were written by the last commit before modules and classes were renamed; those of the
second contracts by the commit that released them (invariant 12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from eventsourcing.domain import Snapshot
from eventsourcing.persistence import DatetimeAsISO, DecimalAsStr, JSONTranscoder, StoredEvent, UUIDAsHex

from domain.events.contracts import Codec
from domain.riders.rider import Rider
from infrastructure.event_store.aggregates import AvroMapper
from tests.unit.core.stored_bytes import (
    EVENTS,
    EVENTS_OF_PEOPLE,
    EVENTS_V2,
    EVENTS_V3,
    RIDER_ID,
    SNAPSHOT_V1,
    SNAPSHOT_V2,
    SNAPSHOT_V3,
    StoredSchemaIds,
)
from tests.unit.core.stored_riders import a_rider, a_rider_of_people


@pytest.fixture
def mapper() -> AvroMapper:
    transcoder = JSONTranscoder()
    for transcoding in (UUIDAsHex(), DecimalAsStr(), DatetimeAsISO()):
        transcoder.register(transcoding)
    return AvroMapper(transcoder, Codec(StoredSchemaIds()))


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
