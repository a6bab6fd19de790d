"""What the folds of spoofing and completion say about all real pings, as one digest: python -m benchmarks.fold_digests

A change that only makes them faster prints the same two digests before and after it, on one machine. Each track of
RIDELOG_GPS_DATA is folded as it is, with legs and late pings, thinned out, and as a phone that misbehaves in turn. The
digests cover the bytes of the state after each event, and the rows that it changes. Some states are decoded on the way.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from benchmarks.spoofing import PING_FILES
from benchmarks.spoofing_files import Record, read_gps
from domain.features.keyed_event import KeyedEvent
from projections.completion import COMPLETION
from projections.core.projection import Projection
from projections.spoofing import SPOOFING

SEED = 16
LATE = 0.05
THINNED_S = (10, 30, 60)
DECODED_EVERY = (0, 1, 7, 50)
"""After how many events a state is decoded from its bytes; 0: never."""

Row = tuple[str, dict[str, Any]]


def with_legs(rider_id: str, records: Sequence[Record], chance: random.Random) -> Iterator[Row]:
    """The pings with legs that start and end among them, whose targets are on the track, beside it or far away."""
    opened: list[tuple[str, str]] = []
    following = chance.randrange(5, 40)
    for number, record in enumerate(records):
        yield "GpsPing", record
        if number != following:
            continue
        following += chance.randrange(5, 120)
        event = {
            "event_timestamp_ms": record["event_timestamp_ms"] - chance.choice([0, 0, 1_000, 60_000, -90_000]),
            "event_id": str(uuid5(UUID(int=SEED), f"{rider_id}/{number}")),
        }
        if opened and chance.random() < 0.6:
            order_id, leg = opened.pop(chance.randrange(len(opened)))
            outcome = chance.choice(["completed"] * 4 + ["unassigned", "cancelled"])
            yield "LegEnded", event | {"order_id": order_id, "leg": leg, "outcome": outcome}
        elif len(opened) < 4:
            target = records[min(len(records) - 1, number + chance.randrange(60))]
            order_id, leg = f"order-{number}", chance.choice(["to_restaurant", "to_customer"])
            opened.append((order_id, leg))
            beside = chance.choice([0.0, 0.0, 0.0005, 0.003, 0.02])
            place = {"target_latitude": target["latitude"] + beside, "target_longitude": target["longitude"] - beside}
            yield "LegStarted", event | {"order_id": order_id, "leg": leg} | place


def delayed(records: Sequence[Record], chance: random.Random) -> list[Record]:
    """Some pings come after up to 60 later ones."""
    places = [number + (chance.randrange(2, 60) if chance.random() < LATE else 0) for number in range(len(records))]
    return [record for _, _, record in sorted(zip(places, range(len(records)), records, strict=True))]


def thinned(records: Sequence[Record], interval_s: int) -> list[Record]:
    kept, at_ms = [], 0
    for record in records:
        if abs(record["event_timestamp_ms"] - at_ms) >= interval_s * 1_000:
            kept.append(record)
            at_ms = record["event_timestamp_ms"]
    return kept


def misbehaving(records: Sequence[Record]) -> Iterator[Record]:
    """Fifty pings each: honest, mock, without speed or accuracy, frozen, with a slow clock, displaced, constant."""
    changes: tuple[dict[str, Any], ...] = (
        {},
        {"is_mock": True},
        {"speed_mps": None},
        {"accuracy_meters": None},
        {"latitude": records[0]["latitude"], "longitude": records[0]["longitude"]},
    )
    for number, record in enumerate(records):
        kind = number // 50 % 8
        if kind < len(changes):
            yield record | changes[kind]
        elif kind == 5:
            yield record | {"event_timestamp_ms": record["event_timestamp_ms"] - 200_000}
        elif kind == 6:
            yield record | {"longitude": record["longitude"] + 0.05}
        else:
            yield record | {"speed_mps": 5.0, "accuracy_meters": 4.0}


def streams_of(rider_id: str, records: Sequence[Record], chance: random.Random) -> Iterator[Iterable[Row]]:
    """The streams that one track makes."""
    yield [("GpsPing", record) for record in records]
    yield with_legs(rider_id, records, chance)
    yield with_legs(rider_id, delayed(records, chance), chance)
    for interval_s in THINNED_S:
        yield with_legs(rider_id, thinned(records, interval_s), chance)
    yield with_legs(rider_id, list(misbehaving(records)), chance)


def add(digest: Any, projection: Projection[Any], rider_id: str, rows: Sequence[Row], decoded_every: int) -> int:
    """Add all states and changes of one stream. Returns the number of changes."""
    state, changes = projection.initial, 0
    for number, (event_type, data) in enumerate(rows, start=1):
        state = projection.fold(state, KeyedEvent(rider_id, number, 7 * number, event_type, data))
        stored = projection.encode(state)
        digest.update(stored)
        changed = projection.changes(rider_id, state)
        if changed:
            digest.update(repr(list(changed)).encode())
            changes += len(changed)
        if decoded_every and number % decoded_every == 0:
            state = projection.decode(stored)
    return changes


def main() -> None:
    folder, chance = Path(os.environ["RIDELOG_GPS_DATA"]), random.Random(SEED)
    digests = {projection.name: hashlib.sha256() for projection in (SPOOFING, COMPLETION)}
    counts: Counter[str] = Counter()
    for name in PING_FILES:
        for rider_id, records in read_gps(folder / name).riders.items():
            for stream in streams_of(rider_id, records, chance):
                rows, decoded_every = list(stream), chance.choice(DECODED_EVERY)
                counts["events"] += len(rows)
                for projection in (SPOOFING, COMPLETION):
                    changes = add(digests[projection.name], projection, rider_id, rows, decoded_every)
                    counts[f"changes of {projection.name}"] += changes
    print(", ".join(f"{count:,} {what}" for what, count in counts.items()))
    for name, digest in digests.items():
        print(f"{name}: {digest.hexdigest()}")


if __name__ == "__main__":
    main()
