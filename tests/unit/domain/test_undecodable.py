"""An undecodable payload is one named error, whatever its bytes; newer and foreign writers are read by their schema."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events.contracts import (
    NAMESPACE,
    Codec,
    FrameError,
    UndecodableError,
    contracts,
    current,
    frame,
    split_frame,
)
from tests.support.kafka.avro_frames import framed_under
from tests.unit.domain.test_contracts import PING, codec


class Ids:
    """A registry with the given schemas, for writers that ``domain/events`` does not have."""

    def __init__(self, schemas: dict[int, dict[str, Any]]) -> None:
        self._schemas = schemas

    def id_of(self, record: str) -> int:
        raise AssertionError(f"nothing is written here, not even {record}")

    def schema_of(self, schema_id: int) -> dict[str, Any]:
        return self._schemas[schema_id]

    def forget(self) -> None:
        """Nothing is cached."""


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x00\x00\x00\x01", b"\x01\x00\x00\x00\x01x", b'{"a": 1}'])
def test_a_half_written_or_foreign_frame_is_a_frame_error(payload: bytes) -> None:
    with pytest.raises(FrameError):
        split_frame(payload)
    with pytest.raises(UndecodableError):
        codec().decode(payload)


def test_a_frame_of_an_unknown_schema_is_undecodable() -> None:
    with pytest.raises(UndecodableError):
        codec().decode(frame(2**32 - 1, b"\x02a"))


def test_a_frame_cut_anywhere_is_undecodable() -> None:
    payload = codec().encode("GpsPing", PING)
    for length in range(len(payload)):
        with pytest.raises(UndecodableError):
            codec().decode(payload[:length])


def test_bytes_left_over_are_undecodable() -> None:
    with pytest.raises(UndecodableError, match="the last 2 bytes are no value of the last field"):
        codec().decode(codec().encode("GpsPing", PING) + b"\x00")
    shift = {"rider_id": "anna", "event_timestamp_ms": 1, "event_id": "x"}
    with pytest.raises(UndecodableError, match="1 bytes are left over"):
        codec().decode(codec().encode("ShiftStarted", shift) + b"\x00")


@pytest.mark.parametrize("event_id", ["none", "0" * 32, "{0b7e9d1c-3f6a-4f0e-8f65-2b1f9a8d7c6e}", " "])
def test_a_ping_whose_event_id_is_not_a_uuid_is_undecodable(event_id: str) -> None:
    """Some folds would accept it, and where the others park the key would depend on how batches were cut."""
    with pytest.raises(UndecodableError, match="event_id is not a UUID"):
        codec().decode(codec().encode("GpsPing", PING | {"event_id": event_id}))


def test_broken_text_is_undecodable() -> None:
    payload = codec().encode("GpsPing", PING)
    with pytest.raises(UndecodableError):
        codec().decode(payload.replace(b"anna", b"an\xff\xff"))


@given(st.data())
def test_regression_the_error_of_a_damaged_frame_has_nothing_of_its_content(data: st.DataObject) -> None:
    # A string with too large a length runs over the coordinates after it.
    payload = bytearray(codec().encode("GpsPing", PING))
    for at in data.draw(st.lists(st.integers(5, len(payload) - 1), min_size=1, max_size=5)):
        payload[at] = data.draw(st.integers(0, 255))
    try:
        codec().decode(bytes(payload))
    except UndecodableError as error:
        said = str(error)
        pieces = [bytes(payload[at : at + 4]) for at in range(5, len(payload) - 4)]
        assert not [p for p in pieces if repr(p)[2:-1] in said or p.decode("latin1") in said]


@given(st.integers(1, len(contracts())), st.binary(max_size=200))
def test_junk_is_read_or_undecodable_and_nothing_else(schema_id: int, body: bytes) -> None:
    try:
        codec().decode(frame(schema_id, body))
    except UndecodableError:
        return


@given(st.data())
def test_a_ping_with_flipped_bytes_is_read_or_undecodable_and_nothing_else(data: st.DataObject) -> None:
    payload = bytearray(codec().encode("GpsPing", PING))
    for at in data.draw(st.lists(st.integers(5, len(payload) - 1), max_size=5)):
        payload[at] = data.draw(st.integers(0, 255))
    try:
        codec().decode(bytes(payload))
    except UndecodableError:
        return


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param({**current("GpsPing").schema, "namespace": "org.other"}, id="of another namespace"),
        pytest.param({**current("GpsPing").schema, "name": "Unheard"}, id="of a record that we do not have"),
        pytest.param({**current("GpsPing").schema, "fields": current("GpsPing").schema["fields"][1:]}, id="no rider"),
        pytest.param({"type": "record", "name": "GpsPing", "namespace": NAMESPACE, "fields": [{}]}, id="no schema"),
        pytest.param({"type": "enum", "name": "GpsPing", "namespace": NAMESPACE, "symbols": ["A"]}, id="an enum"),
    ],
)
def test_a_foreign_schema_is_undecodable(foreign: dict[str, Any]) -> None:
    body = split_frame(codec().encode("GpsPing", PING))[1]
    with pytest.raises(UndecodableError):
        Codec(Ids({7: foreign})).decode(frame(7, body))


def test_a_newer_contract_than_todays_is_read_by_todays_code() -> None:
    newer = json.loads(json.dumps(current("GpsPing").schema))
    newer["fields"].append({"name": "altitude_meters", "type": ["null", "float"], "default": None})
    payload = framed_under(current("GpsPing")._replace(schema=newer), {**PING, "altitude_meters": 34.0}, schema_id=7)
    assert Codec(Ids({7: newer})).decode(payload) == PING


def test_an_unavailable_registry_is_not_an_error_of_the_payload() -> None:
    class Away(Ids):
        def schema_of(self, schema_id: int) -> dict[str, Any]:
            raise ConnectionError("the registry is unavailable")

    with pytest.raises(ConnectionError):
        Codec(Away({})).decode(frame(1, b""))


def test_data_that_do_not_fit_are_rejected_before_they_are_written() -> None:
    for broken in ({"rider_id": None}, {"rider_id": "\ud800"}, {"latitude": "x"}, {"event_timestamp_ms": 2**63}):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            codec().encode("GpsPing", {**PING, **broken})
    with pytest.raises(ValueError, match="no value and no default for rider_id"):
        codec().encode("GpsPing", {name: value for name, value in PING.items() if name != "rider_id"})
