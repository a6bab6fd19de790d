"""The bytes of a ping: its reception is read where the codec wrote it, and from no other schema's payload."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events.contracts import Codec
from domain.gps_ping import parse_ping, record_of
from infrastructure.replay.ping_layout import has_layout, start_of_time
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.worlds.speed_events import ping_data

CODEC = Codec(LocalSchemaIds())
RECEIVED_MS = st.integers(1_300_000_000_000, 2_100_000_000_000)
RIDERS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=128).filter(
    lambda one: "/" not in one and one not in {".", ".."}
)


@given(
    rider=RIDERS,
    received_ms=RECEIVED_MS,
    ahead_ms=st.integers(-10_000, 300_000),
    accuracy=st.none() | st.floats(0, 100, width=32),
    speed=st.none() | st.floats(0, 100, width=32),
)
def test_the_reception_is_where_the_codec_wrote_it(
    rider: str, received_ms: int, ahead_ms: int, accuracy: float | None, speed: float | None
) -> None:
    record = ping_data(rider, received_ms + ahead_ms, 1, received_timestamp_ms=received_ms, accuracy_meters=accuracy)
    record |= {"speed_mps": speed, "source_service": "", "is_mock": None}
    payload = CODEC.encode("GpsPing", record)
    assert has_layout(payload, rider, received_ms)
    assert not has_layout(payload, rider, received_ms + 1)
    assert not has_layout(payload, rider, 0)
    time = payload[start_of_time(rider) :][:6]
    assert sum((byte & 127) << (7 * place) for place, byte in enumerate(time)) == 2 * (received_ms + ahead_ms)


def test_a_ping_as_ingest_makes_it_has_the_layout() -> None:
    item = {"rider_id": "anna", "latitude": 52.5, "longitude": 13.4, "event_timestamp_ms": 1_790_000_000_000}
    ping = parse_ping(item, 1_790_000_000_700)
    assert has_layout(CODEC.encode("GpsPing", record_of(ping)), "anna", 1_790_000_000_700)


@pytest.mark.parametrize("payload", [b"", b"\x00" * 5, b"\x00" * 40, bytes(range(200))])
def test_other_bytes_have_another_layout(payload: bytes) -> None:
    assert not has_layout(payload, "anna", 1_790_000_000_000)
