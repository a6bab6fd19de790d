"""A refold starts at the last verified state snapshot of each key, and folds only later events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identifiers import shard_of
from infrastructure.sinks.decorators import SnapshottingSink
from projections.core import refolds
from projections.core.shard_processor import ProcessorLimits
from projections.live.stream_follower import StreamFollower
from projections.replay.as_of import AsOf
from projections.replay.key_replay import KeyReplay
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from tests.support.ports_in_memory.archive import MemoryArchive, MemorySnapshots
from tests.support.ports_in_memory.projection_ports import MemorySink, ScriptedTopic
from tests.support.worlds.speed_events import expected_states, histories, ping_data

T_MS = 1_790_000_000_000
SMALL = ProcessorLimits(fill_events=3)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refold takes many steps, so that readers and workers come between them."""
    monkeypatch.setattr(refolds, "MAX_EVENTS_PER_STEP", 2)


KEY = "rider-1"


def verified(log: MemoryArchive, every: int) -> MemorySnapshots:
    kept = MemorySnapshots(log, every)
    for key in {event.key for event in log.events}:
        KeyReplay(ReplaySource(SPEED, log, json.loads), kept, snapshot_interval=every).at(
            key, log.horizon(AsOf.at_position(len(log.events)))
        )
    assert all(one.verified for one in kept.kept.values())
    return kept


def an_archive(history: Sequence[tuple[str, int]]) -> MemoryArchive:
    log = MemoryArchive(lambda: T_MS * 2)
    for number, (rider, second) in enumerate(history):
        log.append(rider, "GpsPing", ping_data(rider, T_MS + second * 1000, number), recorded_ms=T_MS + number)
    return log


@given(histories, st.integers(1, 9), st.data())
def test_a_refold_begins_from_the_last_verified_checkpoint(
    history: list[tuple[str, int]], every: int, data: st.DataObject
) -> None:
    log = an_archive(history)
    kept = verified(log, every)
    damaged = data.draw(st.booleans())
    if kept.kept and damaged:
        # A snapshot that cannot be read is skipped.
        place: tuple[str, int] = data.draw(st.sampled_from(sorted(kept.kept)))
        kept.kept[place] = kept.kept[place]._replace(state=b"\xff damaged")
    inner = MemorySink()
    decoded = 0

    def decode(payload: bytes) -> Any:
        nonlocal decoded
        decoded += 1
        return json.loads(payload)

    def worker() -> StreamFollower[Any]:
        sink = SnapshottingSink(inner, kept, SPEED)
        return StreamFollower(
            SPEED, log_port=log, consumer=ScriptedTopic(), sink=sink, decode=decode, partitions=8, limits=SMALL
        )

    world = worker()
    world.step(0)
    decoded = 0
    for shard, fence in inner.held.items():
        inner.held[shard] = fence._replace(event="forged")
    dies_at = data.draw(st.integers(1, 30))
    for turn in range(80):
        world.step(0)
        world.idle_check()
        if turn == dies_at:
            world = worker()
    assert inner.all_states() == expected_states(log.events)
    assert not inner.staging().held
    assert not inner.all_parked()
    assert decoded <= len(log.events)


def test_a_refold_from_a_checkpoint_folds_only_what_comes_after_it() -> None:
    log = an_archive([(KEY, number) for number in range(25)])
    inner, decoded = MemorySink(), [0]

    def decode(payload: bytes) -> Any:
        decoded[0] += 1
        return json.loads(payload)

    sink = SnapshottingSink(inner, verified(log, 10), SPEED)
    runner: StreamFollower[Any] = StreamFollower(
        SPEED, log_port=log, consumer=ScriptedTopic(), sink=sink, decode=decode, partitions=8, limits=SMALL
    )
    runner.step(0)
    inner.held[shard_of(KEY)] = inner.held[shard_of(KEY)]._replace(event="forged")
    decoded[0] = 0
    for _ in range(30):
        runner.step(0)
        runner.idle_check()
    assert inner.all_states() == expected_states(log.events)
    assert decoded[0] == 5
