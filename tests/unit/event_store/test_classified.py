"""Plain events of the library get the columns that the log needs, the same ones each time."""

from __future__ import annotations

from uuid import UUID, uuid5

import pytest
from eventsourcing.persistence import StoredEvent

from infrastructure.event_store.aggregates import UNCLASSIFIED, LogEvent, classified
from tests.support.postgres.log_events import events_of

ID = UUID("00000000-0000-4000-8000-0000000000aa")


@pytest.mark.parametrize("originator", [ID, str(ID)], ids=["a UUID", "its text"])
def test_a_plain_event_is_of_no_stream_and_named_by_its_aggregate(originator: UUID | str) -> None:
    found = classified(StoredEvent(originator, 7, "a topic", b"state"))
    assert found == LogEvent(
        originator_id=ID,
        originator_version=7,
        topic="a topic",
        state=b"state",
        aggregate_type=UNCLASSIFIED,
        aggregate_key=str(ID),
        event_id=uuid5(ID, "a topic/7"),
        event_time_ms=0,
    )
    assert (found.recorded_at_ms, found.command_id, found.caused_by) == (0, None, None)
    assert found.stream == UNCLASSIFIED


def test_the_id_of_a_plain_event_depends_on_its_topic_and_its_version() -> None:
    ids = {classified(StoredEvent(ID, version, topic, b"")).event_id for version in (1, 2) for topic in ("a", "b")}
    assert len(ids) == 4


def test_an_event_of_the_log_stays_as_it_is() -> None:
    (event,) = events_of("anna", 1, 1)
    assert classified(event) is event
