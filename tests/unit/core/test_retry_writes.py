"""What one retry of a parked key reads from the log and writes to the sink."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from domain.identifiers import shard_of
from projections.analytics import ANALYTICS
from projections.core import parked_keys
from projections.core.parked_keys import ParkedKeys, RetryOutcome
from projections.core.ports import Fence, LoggedEvent, ParkedEvent, ShardWrite, SinkRejected
from projections.core.projection import Projection
from projections.core.snapshots import SNAPSHOT_INTERVAL
from projections.speed import SPEED
from read_models.rows import RowChange
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink
from tests.support.worlds.speed_events import expected_states, ping_data

ANNA = "rider-1"
SHARD = shard_of(ANNA)
T_MS = 1_790_000_000_000
PARKED = ParkedEvent(1, 1, 1, "GpsPing", "decode", "no contract reads this", 17)


class SparseSink(MemorySink):
    """Returns only shards that have something, as Redis and Postgres do."""

    def parked(self, shards: Sequence[int]) -> dict[int, dict[str, ParkedEvent]]:
        return {shard: found for shard, found in super().parked(shards).items() if found}

    def load(self, keys: Mapping[int, Sequence[str]]) -> dict[int, dict[str, bytes]]:
        return {shard: found for shard, found in super().load(keys).items() if found}


class Setup:
    """One key, parked at its first event; the cause is repaired."""

    def __init__(self, events: int, projection: Projection[Any] = SPEED) -> None:
        self.log, self.sink = MemoryLog(), SparseSink()
        for number in range(events):
            self.log.append(ANNA, "GpsPing", ping_data(ANNA, T_MS + number * 1000, number))
        self.sink.held[SHARD] = Fence(str(self.log.log_id), "one", events, events, "digest")
        self.sink.marks[SHARD][ANNA] = PARKED
        self.writes: list[ShardWrite] = []
        self.sink.before_apply = self.writes.extend
        self.keys = ParkedKeys(projection, self.sink, self.log, json.loads, lambda: 99)


def test_a_retry_leaves_the_fence_where_it_is_and_gives_it_a_new_incarnation() -> None:
    """So the worker, which has the key parked in its memory, loses its next compare-and-set."""
    setup, other = Setup(3), Setup(3)
    before = setup.sink.held[SHARD]
    assert setup.keys.retry(ANNA) == RetryOutcome("unparked", 3)
    other.keys.retry(ANNA)
    after = setup.sink.held[SHARD]
    assert after._replace(incarnation="one") == before
    assert len({before.incarnation, after.incarnation, other.sink.held[SHARD].incarnation}) == 3
    assert len(after.incarnation) == 32
    assert setup.sink.all_states() == expected_states(setup.log.events)


def test_a_key_of_a_shard_without_parked_keys_is_not_parked() -> None:
    setup = Setup(3)
    setup.sink.marks.clear()
    assert setup.keys.retry(ANNA) == RetryOutcome("none")
    assert setup.writes == []


def test_the_state_snapshots_of_the_folded_events_go_with_the_write() -> None:
    setup = Setup(2 * SNAPSHOT_INTERVAL + 1)
    setup.keys.retry(ANNA)
    snapshots = [(one.key, one.version) for write in setup.writes for one in write.snapshots]
    assert snapshots == [(ANNA, SNAPSHOT_INTERVAL), (ANNA, 2 * SNAPSHOT_INTERVAL)]


def test_the_rows_of_the_folded_events_go_with_the_write() -> None:
    tabled = replace(
        SPEED, tables=ANALYTICS.tables, changes=lambda key, state: [RowChange("sums", (key,), (state.version,))]
    )
    setup = Setup(3, tabled)
    setup.keys.retry(ANNA)
    assert [row.add for row in setup.sink.all_rows().values()] == [(1 + 2 + 3,)]


def test_a_part_is_read_with_one_event_more_than_it_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """That event is where the key is parked until the next part; what an attempt reads is bounded."""
    monkeypatch.setattr(parked_keys, "MAX_EVENTS_PER_ATTEMPT", 4)
    setup = Setup(9)
    read, asked = setup.log.read_key, []

    def noted(stream: str, key: str, from_version: int, upto_seq: int, limit: int | None = None) -> list[LoggedEvent]:
        asked.append((from_version, upto_seq, limit))
        return read(stream, key, from_version, upto_seq, limit)

    setup.log.read_key = noted  # type: ignore[method-assign]
    assert setup.keys.retry(ANNA) == RetryOutcome("unparked", 9)
    assert asked == [(1, 9, 5), (5, 9, 5), (9, 9, 5)]
    assert [len(write.states) for write in setup.writes] == [1, 1, 1]


def test_a_retry_that_is_aborted_leaves_the_key_parked_at_the_next_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a failure there would: who reads it sees that event, and when the key was parked at first."""
    monkeypatch.setattr(parked_keys, "MAX_EVENTS_PER_ATTEMPT", 4)
    setup = Setup(9)
    setup.log.events[4] = setup.log.events[4]._replace(event_type="ShiftStarted")
    setup.keys.retry(ANNA)
    left = [write.parked[ANNA] for write in setup.writes]
    assert left[2] is None
    fifth, ninth = left[0], left[1]
    assert fifth is not None
    assert ninth is not None
    assert fifth == PARKED._replace(seq=5, position=5, version=5, event_type="ShiftStarted", reason=fifth.reason)
    assert ninth == PARKED._replace(seq=9, position=9, version=9, reason=fifth.reason)
    assert "parked retry" in fifth.reason


@pytest.mark.parametrize("bad", [1, 2, 3, 4, 5])
def test_of_few_events_that_the_sink_refuses_the_first_are_folded(bad: int) -> None:
    setup = Setup(5)

    def refuse(writes: Sequence[ShardWrite]) -> None:
        setup.writes.extend(writes)
        if any(SPEED.decode(state).version >= bad for write in writes for state in write.states.values()):
            raise SinkRejected("numeric field overflow")

    setup.sink.before_apply = refuse
    done = setup.keys.retry(ANNA)
    assert (done.verdict, done.events) == ("still", bad - 1)
    assert setup.sink.all_states() == expected_states(setup.log.events[: bad - 1])
    assert setup.sink.all_parked()[ANNA].version == bad
    # By halves: a key of a thousand events would otherwise be written a thousand times.
    assert len(setup.writes) <= 8
