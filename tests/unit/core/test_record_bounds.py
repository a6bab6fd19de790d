"""Invariant 16: what a record of the topic may hold, by exact limits; anything else is no record of this log."""

from __future__ import annotations

from typing import Any

import pytest

from domain.identifiers import MAX_ID_CODE_POINTS, shard_of
from projections.core.ports import ConsumerRecord, LoggedEvent
from projections.core.records import MAX_EVENT_TYPE_CHARS, MAX_NUMBER, ForeignRecord, logged_event

PARTITIONS = 8


def record(key: str = "anna", partition: int | None = None, **headers: Any) -> ConsumerRecord:
    fields = {"eventType": "GpsPing", "position": 9, "seq": 4, "version": 2} | headers
    encoded = [(name, str(value).encode()) for name, value in fields.items() if value is not None]
    where = shard_of(key) % PARTITIONS if partition is None else partition
    return ConsumerRecord("gps-pings", where, 17, key.encode(), b"bytes", encoded)


def test_a_record_is_read_with_its_key_its_numbers_and_its_bytes() -> None:
    found = logged_event(record(), PARTITIONS)
    assert found == LoggedEvent(9, shard_of("anna"), 4, "anna", 2, "GpsPing", b"bytes")


@pytest.mark.parametrize(
    "given",
    [
        {"key": "a"},
        {"key": "a" * MAX_ID_CODE_POINTS},
        {"key": "\U0001f6b2" * MAX_ID_CODE_POINTS},
        {"eventType": "a"},
        {"eventType": "a" * MAX_EVENT_TYPE_CHARS},
        {"position": MAX_NUMBER},
        {"position": MAX_NUMBER, "seq": MAX_NUMBER, "version": MAX_NUMBER},
        {"position": 1, "seq": 1, "version": 1},
        {"position": 4},
        {"seq": 2},
    ],
    ids=str,
)
def test_everything_within_the_limits_is_a_record_of_the_log(given: dict[str, Any]) -> None:
    found = logged_event(record(**given), PARTITIONS)
    expected = {"key": "anna", "eventType": "GpsPing", "position": 9, "seq": 4, "version": 2} | given
    assert found._asdict() == {
        "position": expected["position"],
        "shard": shard_of(str(expected["key"])),
        "seq": expected["seq"],
        "key": expected["key"],
        "version": expected["version"],
        "event_type": expected["eventType"],
        "payload": b"bytes",
    }


@pytest.mark.parametrize(
    "given",
    [
        {"key": ""},
        {"key": "a" * (MAX_ID_CODE_POINTS + 1)},
        {"key": "an\0na"},
        {"eventType": "a" * (MAX_EVENT_TYPE_CHARS + 1)},
        {"eventType": "Gps\0Ping"},
        {"eventType": None},
        {"position": None},
        {"seq": None},
        {"version": None},
        {"position": MAX_NUMBER + 1},
        {"position": "+9"},
        {"seq": " 4"},
        {"version": "2_0"},
        {"version": 0},
        {"version": 5},
        {"position": 3},
        {"partition": (shard_of("anna") + 1) % PARTITIONS},
    ],
    ids=str,
)
def test_anything_else_is_foreign_and_named_by_its_place_on_the_topic(given: dict[str, Any]) -> None:
    one = record(**given)
    with pytest.raises(ForeignRecord, match=rf"^gps-pings\[{one.partition}\]@17 is no record of this log: "):
        logged_event(one, PARTITIONS)


def test_a_key_of_any_length_is_judged_by_its_length_before_it_is_hashed() -> None:
    key = "a" * 10_000
    elsewhere = record(key, partition=(shard_of(key) + 1) % PARTITIONS)
    with pytest.raises(ForeignRecord, match="its key of 10000 characters is no id"):
        logged_event(elsewhere, PARTITIONS)
