"""Replay on a real log: the same answers as in memory, from a few hundred events however long the stream is."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text

from domain.features.keyed_event import KeyedEvent
from domain.identifiers import SHARDS, shard_of
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.postgres.snapshots import PostgresStateSnapshots
from infrastructure.sinks.decorators import SnapshottingSink
from projections.core.shard_processor import ProcessorLimits
from projections.core.snapshots import SNAPSHOT_INTERVAL, StateSnapshot
from projections.rebuild.catch_up import CatchUp
from projections.replay.as_of import AsOf
from projections.replay.key_replay import KeyReplay
from projections.replay.shard_replay import replay_shard
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from tests.support.ports_in_memory.projection_ports import MemorySink
from tests.support.postgres.recorded_log import CODEC, write
from tests.support.postgres.row_access_probe import touched
from tests.support.worlds.replay_reference import counting, window
from tests.support.worlds.replays import END_MS, as_asked, asks, assert_speed, drive
from tests.support.worlds.rider_events import START_MS
from tests.support.worlds.speed_events import ping_data

PINGS = 20_000


def archive_of(engine: Engine) -> PostgresArchive:
    return PostgresArchive(engine, lambda: END_MS)


def fold_live(engine: Engine, every: int) -> None:
    """Fold as a worker does, and store its snapshots."""
    sink = SnapshottingSink(MemorySink(), PostgresStateSnapshots(engine, SPEED, every), SPEED)
    CatchUp(
        SPEED, archive_of(engine), sink, CODEC.decode, range(SHARDS), ProcessorLimits(snapshot_interval=every)
    ).run()


@pytest.mark.parametrize("seed", range(4))
def test_the_speed_as_of_any_instant_is_what_the_reference_says(engine: Engine, seed: int) -> None:
    chance = random.Random(seed)
    raw: list[dict[str, Any]] = []
    recorded_ms = START_MS
    for _, kind, data in drive(seed) + drive(seed + 100) + drive(seed + 200):
        recorded_ms += chance.choice([0, 0, 1, 700, 1_000, 90_000])
        raw.append({**data, "event_type": kind, "recorded_ms": recorded_ms})
    write(engine, raw, partition_rows=100)
    every = chance.randint(1, 7)
    archive = archive_of(engine)
    replay = KeyReplay(
        ReplaySource(SPEED, archive, CODEC.decode),
        PostgresStateSnapshots(engine, SPEED, every),
        snapshot_interval=every,
    )
    questions = asks(raw, chance, 150)
    for number, (key, as_of) in enumerate(questions):
        if number == 50:
            # Replays have stored some snapshots by now. Store all of them here; a part is deleted later.
            fold_live(engine, every)
        if number == 100:
            with engine.begin() as connection:
                connection.execute(text("DELETE FROM checkpoints WHERE (position + :seed) % 2 = 0"), {"seed": seed})
        assert_speed(raw, archive, replay, key, as_of)
    for key, as_of in questions[:5]:
        events = counting(raw, key, as_asked(as_of))
        found = replay_shard(ReplaySource(SPEED, archive, CODEC.decode), shard_of(key), archive.horizon(as_of))
        assert found.states.keys() >= ({key} if events else set())
        if events:
            assert [tuple(ping) for ping in found.states[key].window] == window(events).kept


def test_one_of_many_events_is_a_few_hundred_events_away(
    engine: Engine, record_property: Callable[[str, object], None]
) -> None:
    """Two riders with 20,000 pings, one of them with each hundredth hours late: equal to a full fold, within ms."""
    chance = random.Random(8)
    raw = []
    for number in range(PINGS):
        t_ms = START_MS + number * 1_000
        late_ms = chance.randrange(3_600_000, 4 * 3_600_000) if chance.random() < 0.01 else 0
        for rider, behind in (("late", late_ms), ("in-order", 0)):
            data = ping_data(rider, t_ms - behind, number)
            # The pings of 50 s share a transaction: many are recorded in the same millisecond.
            raw.append({**data, "event_type": "GpsPing", "recorded_ms": t_ms // 50_000 * 50_000 + 50_000})
    write(engine, raw)
    fold_live(engine, SNAPSHOT_INTERVAL)
    with engine.begin() as connection:
        connection.execute(text("ANALYZE events"))
    archive = archive_of(engine)
    replay = KeyReplay(ReplaySource(SPEED, archive, CODEC.decode), PostgresStateSnapshots(engine, SPEED))
    streams = {
        rider: [
            KeyedEvent(rider, v, 2 * v - (rider == "late"), "GpsPing", one)
            for v, one in enumerate((one for one in raw if one["rider_id"] == rider), start=1)
        ]
        for rider in ("late", "in-order")
    }
    most: dict[str, int] = {}
    took: dict[str, list[float]] = {}
    for _ in range(45):
        rider = chance.choice(["late", "in-order"])
        at_ms = START_MS + chance.randrange(PINGS * 1_000)
        position = chance.randint(1, 2 * PINGS)
        as_of = chance.choice(
            [AsOf.known(at_ms), AsOf.happened(at_ms), AsOf.happened(at_ms, position), AsOf.at_position(position)]
        )
        began = time.perf_counter()
        horizon = archive.horizon(as_of)
        found = replay.at(rider, horizon)
        took.setdefault(as_of.axis, []).append((time.perf_counter() - began) * 1_000)
        state = SPEED.initial
        for event in streams[rider]:
            if event.position <= horizon.position and (
                horizon.happened_by_ms is None or event.data["event_timestamp_ms"] <= horizon.happened_by_ms
            ):
                state = SPEED.fold(state, event)
        if found is None:
            assert state == SPEED.initial
            continue
        assert found.state is not None
        assert SPEED.encode(found.state) == SPEED.encode(state)
        of = as_of.axis if as_of.axis != "event" else f"event, {rider}"
        most[of] = max(most.get(of, 0), found.events)
        if of != "event, late":
            assert found.events < 3 * SNAPSHOT_INTERVAL
    # The server reads no more rows either, whichever index its statistics prefer.
    with touched(engine) as seen:
        for as_of in (AsOf.happened(START_MS + PINGS // 2 * 1_000), AsOf.at_position(PINGS)):
            assert replay.at("in-order", archive.horizon(as_of)) is not None
        [last] = archive.key_range("Rider", "in-order", PINGS - SNAPSHOT_INTERVAL - 1, PINGS - SNAPSHOT_INTERVAL, None)
        made = StateSnapshot(last.key, last.version, last.position, b"", last.payload)
        PostgresStateSnapshots(engine, SPEED).save([made], verified=False)
    assert [one for one in seen if one.read > SNAPSHOT_INTERVAL + 50] == []
    # Both ends of what had happened, and of what no clock ahead can have sent by then: in one query, however many
    # snapshots are between.
    assert [one.returned for one in seen if "decided" in one.statement] == [4]
    assert sum(one.read for one in seen) < 4 * SNAPSHOT_INTERVAL
    record_property("most events folded for one answer", most)
    record_property("ms an answer, median", {axis: round(sorted(ms)[len(ms) // 2], 1) for axis, ms in took.items()})
