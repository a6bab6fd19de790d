"""A projection with a partial table: riders by the minute of their last event, and events of the newest hours."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from domain.features.keyed_event import KeyedEvent
from domain.features.partials import PartialDelta
from projections.core.projection import Projection

RING = 3
LAST_SEEN = RING
SLOTS = RING + 1


class Tally(NamedTuple):
    events: int = 0
    t_ms: int = 0


def fold(state: Tally, event: KeyedEvent) -> Tally:
    return Tally(state.events + 1, event.data["event_timestamp_ms"])


def partials(old: Tally, new: Tally) -> Iterator[PartialDelta]:
    hour, second = new.t_ms // 3_600_000, new.t_ms // 1_000 % 3_600
    yield PartialDelta(hour % RING, hour, "seen", (1, second))
    if old.events:
        yield PartialDelta(LAST_SEEN, 0, str(old.t_ms // 60_000), (-1,))
    yield PartialDelta(LAST_SEEN, 0, str(new.t_ms // 60_000), (1,))


def encode(state: Tally) -> bytes:
    return struct.pack(">qq", *state)


def decode(data: bytes) -> Tally:
    return Tally(*struct.unpack(">qq", data))


TALLIED: Projection[Tally] = Projection(
    name="tallied",
    stream="Rider",
    fold_version=1,
    initial=Tally(),
    fold=fold,
    encode=encode,
    decode=decode,
    partials=partials,
    partial_slots=SLOTS,
)
