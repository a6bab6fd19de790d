"""Fences, published checkpoints and parked events that an older version stored are read (invariant 12)."""

from __future__ import annotations

import pytest

from infrastructure.redis.projection_sink import decode_fence, encode_fence
from infrastructure.sinks.published_checkpoints import PublishedCheckpoint, decode_checkpoint, encode_checkpoint
from projections.core.parked_keys import decode_parked_event, encode_parked_event
from projections.core.ports import Fence
from tests.unit.core.stored_bytes import T_MS

FENCE = Fence("6f9619ff-8b86-4d01-b42d-00cf4fc964ff", "9f86d081884c4d659a2feaa0c55ad015", 8, 122, "a1b2c3d4e5f60718")
FENCE_BYTES = b"6f9619ff-8b86-4d01-b42d-00cf4fc964ff 9f86d081884c4d659a2feaa0c55ad015 8 122 a1b2c3d4e5f60718"


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
