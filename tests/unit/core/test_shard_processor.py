"""A worker's open shards: what is applied of a batch, read from the log and counted, and what closes a shard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from domain.identifiers import shard_of
from projections.core.fences import digest_of
from projections.core.ports import Fence, LoggedEvent, ShardWrite
from projections.core.shard_processor import ProcessorLimits, ShardCounters, ShardProcessor
from projections.speed import SPEED
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink
from tests.support.worlds.speed_events import expected_states, ping_data

T_MS = 1_790_000_000_000
ANNA, BEN = "rider-1", "rider-2"
A, B = shard_of(ANNA), shard_of(BEN)
assert A != B


class Asked(MemoryLog):
    """A log that notes what is read of a shard: seqs after which, and how many at most."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, int, int]] = []

    def read_shard(self, stream: str, shard: int, after_seq: int, limit: int) -> list[LoggedEvent]:
        self.asked.append((shard, after_seq, limit))
        return super().read_shard(stream, shard, after_seq, limit)


class Setup:
    """A worker that has opened the empty shards of Anna and Ben."""

    def __init__(self, fill_events: int = 100) -> None:
        self.log, self.sink = Asked(), MemorySink()
        limits = ProcessorLimits(fill_events=fill_events)
        self.worker = ShardProcessor(SPEED, self.log, self.sink, json.loads, limits)
        self.worker.open([A, B])

    def record(self, rider: str, count: int, **other: Any) -> list[LoggedEvent]:
        first = len(self.log.events)
        return [
            self.log.append(rider, "GpsPing", ping_data(rider, T_MS + number * 1000, number, **other))
            for number in range(first, first + count)
        ]

    def counted(self, *names: str) -> tuple[int, ...]:
        return tuple(getattr(self.worker.counters, name) for name in names)

    def seqs(self) -> tuple[int | None, int | None]:
        """The seqs of the two shards; None for one that is closed."""
        fences = self.worker.fences()
        return tuple(fences[shard].seq if shard in fences else None for shard in (A, B))  # type: ignore[return-value]

    def is_right(self) -> bool:
        return self.sink.all_states() == expected_states(self.log.events)


def test_ready_events_of_all_shards_are_written_together_and_counted() -> None:
    setup = Setup()
    writes: list[int] = []
    setup.sink.before_apply = lambda batch: writes.append(len(batch))
    anna, ben = setup.record(ANNA, 3), setup.record(BEN, 2)
    setup.worker.apply({A: anna, B: ben})
    assert setup.is_right()
    assert (writes, setup.log.asked, setup.seqs()) == ([2], [], (3, 2))
    assert setup.worker.counters == ShardCounters(applied=5, position=5, event_time_ms=T_MS + 4_000)
    setup.worker.apply({A: setup.record(ANNA, 1)})
    assert setup.worker.counters == ShardCounters(applied=6, position=6, event_time_ms=T_MS + 5_000)


def test_the_largest_position_and_event_time_are_kept_when_an_older_event_follows() -> None:
    setup = Setup()
    ben, anna = setup.record(BEN, 1), setup.record(ANNA, 1)
    setup.worker.apply({A: anna})
    setup.worker.apply({B: ben})
    assert setup.counted("position", "event_time_ms", "applied") == (2, T_MS + 1_000, 2)


def test_duplicates_are_counted_over_all_batches() -> None:
    setup = Setup()
    anna, ben = setup.record(ANNA, 3), setup.record(BEN, 2)
    setup.worker.apply({A: [anna[0], anna[0], *anna], B: [*ben, ben[1]]})
    assert setup.counted("duplicates", "applied", "gaps") == (3, 5, 0)
    setup.worker.apply({A: [anna[2]]})
    assert setup.counted("duplicates", "applied", "gaps") == (4, 5, 0)
    assert setup.is_right()


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_gap_is_filled_from_the_log_and_what_follows_is_applied(first: int) -> None:
    """The events before the gap are written first; of those in the gap exactly the missing ones are read."""
    setup = Setup()
    anna = setup.record(ANNA, 9)
    setup.worker.apply({A: [*anna[:first], *anna[4:6], *anna[8:]]})
    assert setup.is_right()
    assert setup.counted("gaps", "filled", "applied", "lost_races") == (2, 6 - first, 9, 0)
    assert setup.log.asked == [(A, max(0, first - 1), 4 - first + 1), (A, 5, 3)]


def test_gaps_of_several_shards_are_all_filled() -> None:
    setup = Setup()
    anna, ben = setup.record(ANNA, 4), setup.record(BEN, 5)
    setup.worker.apply({A: anna[2:], B: [*ben[:1], *ben[3:]]})
    assert setup.is_right()
    assert setup.counted("gaps", "filled", "applied") == (2, 4, 9)


@pytest.mark.parametrize("shown", [1, 2])
def test_a_gap_that_the_log_does_not_show_yet_stays_until_it_does(shown: int) -> None:
    """A standby may lag: nothing after the gap is applied, and the worker does not wait for it."""
    setup = Setup()
    anna, ben = setup.record(ANNA, 4), setup.record(BEN, 4)
    visible, setup.log.events = setup.log.events, [one for one in setup.log.events if one not in anna[shown:3]]
    setup.worker.apply({A: [anna[0], anna[3]], B: [ben[0], ben[3]]})
    assert setup.seqs() == (shown, 4)
    setup.log.events = visible
    setup.worker.apply({A: [anna[3]]})
    assert setup.seqs() == (4, 4)
    assert setup.is_right()


def test_a_shard_whose_records_contradict_each_other_is_closed_and_the_others_go_on() -> None:
    setup = Setup()
    anna, ben = setup.record(ANNA, 2), setup.record(BEN, 2)
    setup.worker.apply({A: [*anna, anna[1]._replace(payload=b"others")], B: ben})
    assert setup.seqs() == (None, 2)
    assert (setup.worker.lost, set(setup.sink.held)) == ({A}, {B})


def test_a_shard_whose_race_is_lost_before_a_gap_is_not_filled() -> None:
    setup = Setup()
    anna, ben = setup.record(ANNA, 4), setup.record(BEN, 1)

    def another_is_first(_writes: Sequence[ShardWrite]) -> None:
        setup.sink.held[A] = Fence(str(setup.log.log_id), "another", 0, 0)

    setup.sink.before_apply = another_is_first
    setup.worker.apply({A: [anna[0], anna[3]], B: ben})
    assert setup.seqs() == (None, 1)
    assert setup.worker.lost == {A}
    assert setup.counted("lost_races", "gaps", "filled", "applied") == (1, 1, 0, 1)
    assert setup.log.asked == []
    setup.worker.open([B])
    setup.worker.open([A])
    setup.worker.apply({A: setup.record(ANNA, 1)})
    assert setup.counted("lost_races") == (2,)


def test_a_shard_is_closed_when_the_log_has_another_event_at_its_fence() -> None:
    """Restored since the fence was checked: nothing of the other history is folded onto these states."""
    setup = Setup()
    anna = setup.record(ANNA, 3)
    setup.worker.apply({A: anna})
    held = setup.sink.held[A]
    more = setup.record(ANNA, 2)
    setup.log.events[2] = anna[2]._replace(payload=b"others")
    setup.worker.apply({A: [more[1]]})
    assert setup.seqs() == (None, 0)
    assert (setup.worker.lost, setup.sink.held[A]) == ({A}, held)


def test_a_record_with_the_seq_of_the_fence_leads_to_a_comparison_with_the_log() -> None:
    """It may be the event that a restored log has there now; what follows it is not folded onto the old state."""
    setup = Setup()
    anna = setup.record(ANNA, 3)
    setup.worker.apply({A: anna})
    setup.log.events[2] = anna[2]._replace(payload=b"others")
    setup.worker.apply({A: [setup.log.events[2], *setup.record(ANNA, 1)]})
    assert setup.seqs() == (None, 0)
    assert setup.sink.held[A].seq == 3


@pytest.mark.parametrize("event", ["", "digest of the event"])
def test_a_fence_is_compared_with_the_event_at_it_whenever_the_shard_is_filled(event: str) -> None:
    """A fence that an older version wrote names no event; then the numbers alone decide."""
    setup = Setup()
    setup.worker.apply({A: setup.record(ANNA, 3)})
    last = setup.log.events[-1]
    fence = setup.sink.held[A]._replace(event=event and digest_of(last))
    setup.sink.held[A] = setup.worker.states[A].fence = setup.worker.states[A].stored = fence
    setup.record(ANNA, 2)
    setup.worker.fill(A, 5)
    assert setup.seqs() == (5, 0)
    assert setup.is_right()


@pytest.mark.parametrize(
    ("fill_events", "asked"),
    [(1, [(0, 2), (1, 2), (2, 2), (3, 2)]), (2, [(0, 3), (2, 3)]), (3, [(0, 4), (3, 2)]), (9, [(0, 6)])],
)
def test_the_log_is_read_in_parts_with_the_event_at_the_fence(fill_events: int, asked: list[tuple[int, int]]) -> None:
    setup = Setup(fill_events)
    setup.record(ANNA, 8)
    setup.worker.fill(A, 5)
    assert setup.seqs() == (5, 0)
    assert [(after, limit) for _, after, limit in setup.log.asked] == asked
    setup.worker.fill(A, 5)
    assert len(setup.log.asked) == len(asked)


def test_parked_keys_are_counted_over_all_batches() -> None:
    setup = Setup()
    for rider, shard in ((ANNA, A), (BEN, B)):
        event = setup.log.append(rider, "GpsPing", {"cannot": "be folded"})
        setup.worker.apply({shard: [event]})
    assert setup.counted("parked", "applied") == (2, 2)


def test_no_shards_are_compared_with_no_log() -> None:
    setup = Setup()
    setup.log.head = lambda _stream: pytest.fail("no shard needs it")  # type: ignore[assignment,method-assign]
    assert setup.worker.mismatched([]) == []
    assert setup.worker.open([]) is None


def test_a_new_shard_of_each_worker_starts_under_an_incarnation_of_its_own() -> None:
    """So that of two workers that start it, one loses its first write."""
    one, other = Setup(), Setup()
    fences = [*one.worker.fences().values(), *other.worker.fences().values()]
    assert len({fence.incarnation for fence in fences}) == 4
    assert all(len(fence.incarnation) == 32 and (fence.seq, fence.position) == (0, 0) for fence in fences)
