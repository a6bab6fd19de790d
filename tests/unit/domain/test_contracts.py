"""Invariant 12: an old event stays readable, and an undecodable payload is one named error."""

from __future__ import annotations

import hashlib
from importlib import resources
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.deliveries.events import DELIVERY_EVENTS
from domain.events.contracts import (
    MAGIC,
    NAMESPACE,
    Codec,
    Contract,
    UndecodableError,
    contracts,
    current,
    frame,
    split_frame,
    versions,
)
from domain.gps_ping import parse_ping
from domain.identifiers import derive_event_id
from domain.recorded_events import AGGREGATE_OF, RIDER_EVENTS
from domain.riders.events import RiderEvent
from domain.riders.rider import Rider
from tests.support.kafka.avro_frames import framed_under
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds

RELEASED = {
    "alert_reviewed.v1.avsc": "8d220444318f51d949cdac632943d8bbd996a5d179eee2532063da09499d285b",
    "delivery_arrived.v1.avsc": "a6ecf78f077f80cbd9a27ad2391fd4275cb431af77acdc76f8834779d7f257c1",
    "delivery_assigned.v1.avsc": "bc66370729b0b85564f7497a34780d45aed112d5f910166de468513114f6a0b7",
    "delivery_cancelled.v1.avsc": "acdf25e59ee16b32f2e586f285b11542cbba3f6ff9c49ea33830a0bc2b2835d8",
    "delivery_completed.v1.avsc": "fbbdc46a9626d4d81224315cc9d5f8e32429edf21935bf4b3a63ae3caa372045",
    "delivery_picked_up.v1.avsc": "d2a5c0238c29dd27a88c39f1537accde77dc81e5e3899475c2f97c866c5459e3",
    "delivery_placed.v1.avsc": "1e823440d54fec56154f8390ff22e66900d032c485185408403948035566d8f1",
    "delivery_unassigned.v1.avsc": "c0f52b5cf69c3715954d5bdae5d4753159ba102b6d1142f51161a3f9e4ba8d13",
    "eta_served.v2.avsc": "4636abd2b324c608dee062c57e0b7f78e812a0af4c82a429c6c4569d384f6d9d",
    "eta_served.v1.avsc": "5d5c0259d928d972b5ae4d8b00680a76ee4eb074a7a367a12702346b9c38b3d0",
    "gps_ping.v1.avsc": "14c653056d6cccb294cd6f7274b38b556d6588d4c52cfcd508a0bff4ba608a89",
    "gps_ping.v2.avsc": "8f81f11bef592d0829ad623a20865523a73b7ebdb3252b41e1ff09b42617f224",
    "gps_ping.v3.avsc": "e081a83ebc5774f902bef003dda14d86f36ae1aeabf2608517a953ff6399d712",
    "leg_ended.v1.avsc": "f13d58c9737d2ab0e4da617d2b4f5638339a1ce0d9003ebc2aceeed59b707fdb",
    "leg_ended.v2.avsc": "a32e4bb832a5fff7e825b842844687aabd05428442a6704137a2ac9b3a601637",
    "leg_started.v1.avsc": "ff9f192059173c4c73bb0469ee670229333f88cfd823b7feb1a79b8c9e75c94b",
    "leg_started.v2.avsc": "0a4b363d3134a098bfc4402134314ecb9b18941e2c1617cc8894074cbd37a472",
    "payout_entry.v1.avsc": "c6c704ba13d2a86ccfdf437d1b26266ee2d02bab8d499793a0c437d1ea807f74",
    "rider_location.v1.avsc": "ab7901dadde86fc8e6b60f0d9e3c2b6b33a8f9f703aac2991e0d79277b6a0ac1",
    "rider_registered.v1.avsc": "ee001e407b09b19231b7b0af0b0ee9ddf28af034eb4da3baaac3ab770330efc4",
    "rider_registered.v2.avsc": "9676aad33c13c8e58dc6974cb5032e9bab0382b7c501829de9e4b28c9353cd41",
    "shift_ended.v1.avsc": "fb13daa8f7316da72dc37cfb5123005d286fe27c77c83ec7af1545344527d1bf",
    "shift_ended.v2.avsc": "f4fdb14a87f6343baa93298f08f9f8b2f44dd6b96379752d0d26260e5794da80",
    "shift_started.v1.avsc": "c125edbf8a70c1c8cfdf1cc1bae6e458652727183cc0b8f0fa6091d72469b200",
    "shift_started.v2.avsc": "464a6dce43be5058c5e424b625729d93824fbdbc4f973a823c54071a53804381",
    "statement_closed.v1.avsc": "14f8b442b3c890d30d54c416ab93a1b6164f78cfe374c50aba536cd7c4cf5e71",
}
"""SHA-256 of every released file: add a line with a new file, never change one (write the next version instead)."""

PING: dict[str, Any] = {
    "rider_id": "anna",
    "latitude": 52.52,
    "longitude": 13.405,
    "event_timestamp_ms": 1_767_225_600_123,
    "accuracy_meters": 8.5,
    "speed_mps": None,
    "event_id": "0b7e9d1c-3f6a-4f0e-8f65-2b1f9a8d7c6e",
    "received_timestamp_ms": 1_767_225_600_456,
    "source_service": "courier-app",
    "schema_version": 3,
    "is_mock": None,
}
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    "string": st.text(),
    "double": st.floats(allow_nan=False),
    "float": st.floats(allow_nan=False, width=32),
    "long": st.integers(-(2**63), 2**63 - 1),
    "int": st.integers(-(2**31), 2**31 - 1),
    "null": st.none(),
    "boolean": st.booleans(),
}


def codec() -> Codec:
    return Codec(LocalSchemaIds())


def values_of(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    def of(kind: Any) -> st.SearchStrategy[Any]:
        return st.one_of([of(branch) for branch in kind]) if isinstance(kind, list) else VALUES[kind]

    return st.fixed_dictionaries({field["name"]: of(field["type"]) for field in schema["fields"]})


def fields_of(schema: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(field["name"], field["type"], field.get("default", "none")) for field in schema["fields"]]


def test_a_released_contract_never_changes() -> None:
    digests = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in resources.files("domain.events").iterdir()
        if file.name.endswith(".avsc")
    }
    assert digests == RELEASED


def test_gps_ping_has_the_fields_of_the_design() -> None:
    first = [
        ("rider_id", "string", "none"),
        ("latitude", "double", "none"),
        ("longitude", "double", "none"),
        ("event_timestamp_ms", "long", "none"),
        ("accuracy_meters", ["null", "float"], None),
        ("speed_mps", ["null", "float"], None),
        ("schema_version", "int", 1),
    ]
    added = [("event_id", "string", ""), ("received_timestamp_ms", "long", 0), ("source_service", "string", "unknown")]
    one, two, three = versions("GpsPing")
    assert (one.version, two.version, three.version) == (1, 2, 3)
    assert fields_of(one.schema) == first
    assert fields_of(two.schema) == first + added
    assert fields_of(three.schema) == first + added + [("is_mock", ["null", "boolean"], None)]


def test_every_event_names_its_key_its_time_and_its_id() -> None:
    assert set(RIDER_EVENTS) == {
        "AlertReviewed",
        "GpsPing",
        "LegEnded",
        "LegStarted",
        "RiderRegistered",
        "ShiftEnded",
        "ShiftStarted",
        "StatementClosed",
    }
    assert set(DELIVERY_EVENTS) == {
        "DeliveryArrived",
        "DeliveryAssigned",
        "DeliveryCancelled",
        "DeliveryCompleted",
        "DeliveryPickedUp",
        "DeliveryPlaced",
        "DeliveryUnassigned",
        "EtaServed",
    }
    # Published records have contracts too, but are not events: no aggregate writes them or can be built from them.
    assert {contract.record for contract in contracts()} == set(AGGREGATE_OF) | {"RiderLocation", "PayoutEntry"}
    for contract in {contract.record: contract for contract in contracts()}.values():
        if contract.record == "PayoutEntry":
            continue  # the record of an entry, which an event made: it has the entry's id, and no event's
        kinds = {field["name"]: field["type"] for field in contract.schema["fields"]}
        key = AGGREGATE_OF[contract.record].KEY_FIELD if contract.record in AGGREGATE_OF else "rider_id"
        assert contract.schema["namespace"] == NAMESPACE
        assert (kinds[key], kinds["event_timestamp_ms"], kinds["event_id"]) == ("string", "long", "string")
        assert contract.schema["fields"][0]["name"] == key


def test_every_event_but_the_ping_names_its_command_and_its_cause() -> None:
    for record in set(AGGREGATE_OF) - {"GpsPing"}:
        fields = {name: (kind, default) for name, kind, default in fields_of(current(record).schema)}
        assert fields["command_id"] == fields["caused_by"] == ("string", "")
        if record in DELIVERY_EVENTS or record.startswith(("Leg", "Alert", "Statement")):
            assert fields["command_digest"] == ("string", "")
            # By these two the effective time of every event is defined (invariant 6).
            assert fields["received_timestamp_ms"] == ("long", 0)
            assert fields["source_service"] == ("string", "unknown")


@pytest.mark.parametrize("record", sorted({contract.record for contract in contracts()}))
def test_decoding_inverts_encoding(record: str) -> None:
    both = codec()

    @given(values_of(current(record).schema), st.just("") | st.uuids().map(str))
    def round_trip(data: dict[str, Any], event_id: str) -> None:
        if record == "GpsPing":
            data["event_id"] = event_id
        expected = dict(data)
        if record == "GpsPing" and not data["event_id"]:
            expected["event_id"] = derive_event_id(
                data["rider_id"], data["event_timestamp_ms"], data["latitude"], data["longitude"]
            )
        assert both.decode(both.encode(record, data)) == expected

    round_trip()


def test_a_frame_names_the_current_contract() -> None:
    payload = codec().encode("GpsPing", PING)
    schema_id, body = split_frame(payload)
    assert payload[0] == MAGIC
    assert LocalSchemaIds().schema_of(schema_id) == current("GpsPing").schema
    assert frame(schema_id, body) == payload


def test_the_rider_writes_the_version_of_the_contract_that_it_writes_under() -> None:
    # The field's default stays 1, as released: a writer that left it to the default would misname its contract.
    ping = parse_ping(PING, PING["received_timestamp_ms"])
    rider = Rider.register("anna", ping.event_timestamp_ms)
    rider.record_ping(ping, {})
    event = rider.collect_events()[-1]
    assert isinstance(event, RiderEvent)
    assert codec().decode(codec().encode("GpsPing", event.data()))["schema_version"] == current("GpsPing").version


def test_invariant_12_a_version_1_ping_is_read_by_todays_code() -> None:
    old = {name: PING[name] for name, _, _ in fields_of(versions("GpsPing")[0].schema)} | {"schema_version": 1}
    ping = codec().decode(framed_under(versions("GpsPing")[0], old))
    assert ping == {
        **old,
        "event_id": derive_event_id("anna", 1_767_225_600_123, 52.52, 13.405),
        "received_timestamp_ms": 0,
        "source_service": "unknown",
        "is_mock": None,
    }


def test_invariant_12_a_version_2_ping_says_nothing_about_a_mock() -> None:
    old = {name: PING[name] for name, _, _ in fields_of(versions("GpsPing")[1].schema)} | {"schema_version": 2}
    assert codec().decode(framed_under(versions("GpsPing")[1], old)) == {**old, "is_mock": None}


@pytest.mark.parametrize("contract", contracts(), ids=lambda contract: f"{contract.record} {contract.version}")
def test_a_record_is_decoded_as_the_rules_of_avro_resolve_it(contract: Contract) -> None:
    """The codec fills in defaults itself where a contract has only added fields."""
    today = fastavro.parse_schema(current(contract.record).schema)
    both = codec()

    @settings(max_examples=20)
    @given(values_of(contract.schema), st.uuids().map(str))
    def resolved(data: dict[str, Any], event_id: str) -> None:
        data |= {"event_id": event_id} if "event_id" in data else {}
        payload = framed_under(contract, data)
        decoded = both.decode(payload)
        body = BytesIO(split_frame(payload)[1])
        expected = fastavro.schemaless_reader(body, fastavro.parse_schema(contract.schema), today)
        assert isinstance(expected, dict)
        if expected.get("event_id") == "":
            expected["event_id"] = decoded["event_id"]
        assert decoded == expected

    resolved()


@pytest.mark.parametrize("said", [None, False, True])
def test_a_frame_has_the_bytes_of_avro(said: bool | None) -> None:
    """The codec writes and reads the last field of the ping itself."""
    ping = {**PING, "is_mock": said}
    payload = framed_under(current("GpsPing"), ping)
    assert codec().encode("GpsPing", ping) == payload
    assert codec().decode(payload) == ping


@pytest.mark.parametrize("end", [b"", b"\x00\x00", b"\x01", b"\x02", b"\x02\x02", b"\x02\x01\x00", b"\x04\x00"])
def test_a_ping_with_another_end_cannot_be_decoded(end: bytes) -> None:
    payload = codec().encode("GpsPing", PING)
    with pytest.raises(UndecodableError, match="no value of the last field"):
        codec().decode(payload[:-1] + end)


@pytest.mark.parametrize("value", [1, "true", 0.0])
def test_a_value_that_the_contract_does_not_have_is_not_encoded(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        codec().encode("GpsPing", {**PING, "is_mock": value})


def test_a_phone_that_sent_minus_zero_is_the_same_phone_in_a_version_1_frame() -> None:
    ids = {
        codec().decode(framed_under(versions("GpsPing")[0], {**PING, "latitude": zero}))["event_id"]
        for zero in (0.0, -0.0)
    }
    assert len(ids) == 1
