"""Stored bytes that are no state: nothing is folded onto them, and the error names the command to run."""

from __future__ import annotations

import pytest

from domain.identifiers import shard_of
from projections.core.snapshots import StoredSnapshot
from projections.core.state_codec import BrokenState, latest_snapshot
from projections.replay.as_of import AsOf
from projections.replay.key_replay import KeyReplay
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from tests.support.ports_in_memory.archive import MemoryArchive, MemorySnapshots
from tests.support.ports_in_memory.parity_ports import DamageableSnapshots
from tests.support.ports_in_memory.projection_ports import MemorySink, ScriptedTopic
from tests.support.worlds.replays import END_MS, decode, naive
from tests.support.worlds.retries import Registry, a_log, a_runner, parking
from tests.support.worlds.rider_events import START_MS
from tests.support.worlds.speed_events import ping_data

KEY = "rider-1"
HISTORY = [(KEY, number) for number in range(20)]
DAMAGED = b"\xff damaged"


def test_a_worker_does_not_fold_on_from_a_damaged_state() -> None:
    log, sink, topic, registry = a_log(HISTORY), MemorySink(), ScriptedTopic(), Registry(set())
    a_runner(log, sink, registry.decode).step(0)
    sink.states[shard_of(KEY)][KEY] = DAMAGED
    fences = dict(sink.held)
    topic.deliver([log.append(KEY, "GpsPing", ping_data(KEY, 99_000, 20, serial=20))])
    with pytest.raises(BrokenState, match=r"speed stores for 'rider-1' cannot be read .*rebuild-projection speed"):
        a_runner(log, sink, registry.decode, topic).step(0)
    assert (sink.held, sink.states[shard_of(KEY)][KEY]) == (fences, DAMAGED)


def test_a_retry_does_not_fold_on_from_a_damaged_state() -> None:
    log, sink, registry = a_log(HISTORY), MemorySink(), Registry({15})
    a_runner(log, sink, registry.decode).step(0)
    sink.states[shard_of(KEY)][KEY] = DAMAGED
    registry.unknown.clear()
    with pytest.raises(BrokenState, match="rebuild-projection speed"):
        parking(log, sink, registry.decode).retry(KEY)
    assert list(sink.all_parked()) == [KEY]


@pytest.mark.parametrize("damaged", [{20}, {10, 20}])
@pytest.mark.parametrize("as_of", [AsOf.at_position(25), AsOf.happened(START_MS + 24_999)], ids=["known", "happened"])
def test_a_damaged_snapshot_is_skipped_and_saved_again(damaged: set[int], as_of: AsOf) -> None:
    log = MemoryArchive(lambda: END_MS)
    for second in range(30):
        at_ms = START_MS + second * 1_000
        log.append(KEY, "GpsPing", ping_data(KEY, at_ms, second), recorded_ms=at_ms)
    checkpoints = MemorySnapshots(log, 10)
    replay = KeyReplay(ReplaySource(SPEED, log, decode), checkpoints, snapshot_interval=10)
    replay.at(KEY, log.horizon(AsOf.at_position(30)))
    whole = dict(checkpoints.kept)
    for place, kept in whole.items():
        if kept.version in damaged:
            checkpoints.kept[place] = kept._replace(state=DAMAGED)
    found = replay.at(KEY, log.horizon(as_of))
    assert found is not None
    assert found.state is not None
    assert SPEED.encode(found.state) == naive(SPEED, log.events[:25]).state
    assert checkpoints.kept == whole


def kept_at(*places: tuple[int, bytes, bool]) -> DamageableSnapshots:
    """Snapshots of KEY at (position = version, bytes, verified)."""
    checkpoints = DamageableSnapshots()
    for position, state, verified in places:
        checkpoints.kept[KEY, position] = StoredSnapshot(position, position, state, verified)
    return checkpoints


def test_a_request_for_a_verified_snapshot_ignores_a_later_unverified_one() -> None:
    good = SPEED.encode(SPEED.initial)
    checkpoints = kept_at((10, good, True), (20, good, False))
    verified = latest_snapshot(SPEED, checkpoints, KEY, 25, verified=True)
    any_of_them = latest_snapshot(SPEED, checkpoints, KEY, 25)
    assert verified is not None
    assert any_of_them is not None
    assert (verified[0].position, any_of_them[0].position) == (10, 20)


def test_the_snapshot_right_before_a_damaged_one_is_found() -> None:
    good = SPEED.encode(SPEED.initial)
    found = latest_snapshot(SPEED, kept_at((10, good, True), (19, good, True), (20, DAMAGED, True)), KEY, 20)
    assert found is not None
    assert found[0].position == 19
    assert latest_snapshot(SPEED, kept_at((20, DAMAGED, True)), KEY, 20) is None
