"""Invariants 8 and 10: a state that cannot be written down parks its key at the same event wherever it is folded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.identifiers import SHARDS
from projections.core.parked_keys import ParkedKeys
from projections.core.ports import ParkedEvent
from projections.core.projection import Projection
from projections.live.stream_follower import StreamFollower
from projections.rebuild.catch_up import CatchUp
from projections.replay.as_of import AsOf
from projections.replay.key_replay import KeyReplay
from projections.replay.shard_replay import replay_shard
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from tests.support.ports_in_memory.archive import MemoryArchive, MemorySnapshots
from tests.support.ports_in_memory.projection_ports import MemorySink, ScriptedTopic
from tests.support.worlds.histories import OF_RIDERS
from tests.support.worlds.replays import END_MS, decode
from tests.support.worlds.rider_events import START_MS
from tests.support.worlds.speed_events import histories, ping_data

every_projection = pytest.mark.parametrize("projection", OF_RIDERS, ids=lambda p: p.name)

Held = dict[str, tuple[int, int, str, str]]


def a_log(history: Iterable[tuple[str, int]]) -> MemoryArchive:
    log = MemoryArchive(lambda: END_MS)
    for number, (rider, second) in enumerate(history):
        log.append(rider, "GpsPing", ping_data(rider, START_MS + second * 1_000, number, received_timestamp_ms=0))
    return log


def unwritable_from(projection: Projection[Any], version: int) -> Projection[Any]:
    """The same projection with a read model that cannot write down what a key comes to at ``version`` and later."""

    def encode(state: Any) -> bytes:
        if state.version >= version:
            raise OverflowError("does not fit")
        return projection.encode(state)

    return replace(projection, encode=encode)


def held(marks: Mapping[str, ParkedEvent]) -> Held:
    return {key: (mark.version, mark.position, mark.kind, mark.reason) for key, mark in marks.items()}


def followed(projection: Projection[Any], log: MemoryArchive, cuts: Iterable[int]) -> MemorySink:
    """What a worker has made of the log that was there as it came: up to each of ``cuts`` in one batch."""
    sink, topic, seen = MemorySink(), ScriptedTopic(), MemoryArchive(lambda: END_MS)
    runner: StreamFollower[Any] = StreamFollower(
        projection, log_port=seen, consumer=topic, sink=sink, decode=decode, partitions=8
    )
    runner.step(0)
    for cut in cuts:
        topic.deliver(log.events[len(seen.events) : cut])
        for event in log.events[len(seen.events) : cut]:
            seen.append(event.key, event.event_type, decode(event.payload))
        runner.step(0)
    return sink


def test_regression_a_replay_of_a_state_that_cannot_be_written_is_held_back_as_serving_is() -> None:
    """Reads of the past of that key, and replays of all keys, ended with a traceback."""
    log = a_log([("anna", n) for n in range(4)] + [("ben", n) for n in range(2)])
    projection = unwritable_from(SPEED, 3)
    live = followed(projection, log, range(1, 7))
    assert held(live.all_parked()) == {"anna": (3, 3, "refused", "OverflowError: does not fit")}
    for as_of in (AsOf.at_position(6), AsOf.happened(END_MS)):
        found = KeyReplay(ReplaySource(projection, log, decode)).at("anna", log.horizon(as_of))
        assert found is not None
        assert found.state is not None
        assert found.parked is not None
        assert held({"anna": found.parked}) == held(live.all_parked())
        assert SPEED.encode(found.state) == live.all_states()["anna"]


def test_a_retry_stops_at_that_event_too() -> None:
    log = a_log([("anna", n) for n in range(30)])
    projection = unwritable_from(SPEED, 6)
    sink = followed(projection, log, [30])
    assert sink.all_parked()["anna"].version == 6
    again = ParkedKeys(projection, sink, log, decode, lambda: END_MS).retry("anna")
    assert (again.verdict, again.parked and again.parked.version) == ("still", 6)
    later = ParkedKeys(unwritable_from(SPEED, 20), sink, log, decode, lambda: END_MS).retry("anna")
    assert (later.verdict, later.parked and later.parked.version) == ("still", 20)


@every_projection
@settings(max_examples=40)
@given(history=histories, first=st.integers(1, 12), every=st.integers(1, 7), data=st.data())
def test_serving_rebuild_and_replay_are_held_back_at_the_same_event(
    projection: Projection[Any], history: list[tuple[str, int]], first: int, every: int, data: st.DataObject
) -> None:
    log, projection, encode = a_log(history), unwritable_from(projection, first), projection.encode
    cuts = sorted(data.draw(st.sets(st.integers(1, len(history)), max_size=6)) | {len(history)})
    live, rebuilt = followed(projection, log, cuts), MemorySink()
    expected = held(live.all_parked())
    assert {version for version, _, _, _ in expected.values()} <= {first}
    CatchUp(projection, log, rebuilt, decode, range(SHARDS)).run()
    assert (held(rebuilt.all_parked()), rebuilt.all_states()) == (expected, live.all_states())
    assert rebuilt.all_rows() == live.all_rows()

    horizon = log.horizon(AsOf.at_position(len(history)))
    shards = [replay_shard(ReplaySource(projection, log, decode), shard, horizon) for shard in range(SHARDS)]
    assert held({key: mark for shard in shards for key, mark in shard.parked.items()}) == expected
    assert {k: encode(s) for shard in shards for k, s in shard.states.items()} == live.all_states()

    replay = KeyReplay(ReplaySource(projection, log, decode), MemorySnapshots(log, every), snapshot_interval=every)
    keys = sorted({key for key, _ in history})
    found = {key: one for key in keys if (one := replay.at(key, horizon)) is not None}
    assert held({key: one.parked for key, one in found.items() if one.parked is not None}) == expected
    assert {k: encode(one.state) for k, one in found.items() if one.state is not None} == live.all_states()
