"""What a worker stores of one batch, and what it counts, when the sink refuses it or another worker is quicker."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from domain.features.keyed_event import KeyedEvent
from domain.identifiers import shard_of
from projections.analytics import ANALYTICS
from projections.core.fences import digest_of
from projections.core.ports import Fence, LoggedEvent, ParkedEvent, ShardWrite, SinkRejected
from projections.core.projection import Projection
from projections.core.shard_writer import MAX_PARKED_PER_SHARD, BrokenFold, ShardState, ShardWriter, WriteResult
from read_models.rows import RowChange
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink

T_MS = 1_790_000_000_000
NOW_MS = T_MS + 999_999


def fold(state: list[Any], event: KeyedEvent) -> list[Any]:
    if event.data.get("poison"):
        raise ZeroDivisionError("a fault of the fold")
    return [*state, event.data["n"]]


LISTED: Projection[Any] = Projection("speed", "Rider", 1, [], fold, lambda s: json.dumps(s).encode(), json.loads)
KEYS = [key for key in (f"rider-{n}" for n in range(70_000)) if shard_of(key) == 7]
assert len(KEYS) > MAX_PARKED_PER_SHARD
ANNA, BEN, EVE = KEYS[:3]
OTHER = next(key for key in (f"rider-{n}" for n in range(100)) if shard_of(key) == 8)
BEGUN = Fence("a log", "one", 0, 0)


class Setup:
    """Shards 7 and 8 as a worker has just opened them."""

    def __init__(self, cached: int = 100, projection: Projection[Any] = LISTED) -> None:
        self.log, self.sink = MemoryLog(), MemorySink()
        self.writer = ShardWriter(projection, self.sink, json.loads, cached, lambda: NOW_MS)
        self.shards: dict[int, ShardState[Any]] = {shard: ShardState(BEGUN, None) for shard in (7, 8)}

    def record(self, *given: tuple[str, Any]) -> dict[int, list[LoggedEvent]]:
        """Events by shard, their time by their place in the log."""
        found: dict[int, list[LoggedEvent]] = {}
        for key, n in given:
            data = {"n": n, "event_timestamp_ms": T_MS + len(self.log.events), "poison": n == "poison"}
            event = self.log.append(key, "GpsPing", data)
            found.setdefault(event.shard, []).append(event)
        return found

    def write(self, *given: tuple[str, Any]) -> WriteResult:
        return self.writer.write(self.shards, self.record(*given))

    def states(self) -> dict[str, Any]:
        return {key: json.loads(state) for key, state in self.sink.all_states().items()}


def refusing(bad: Any) -> Callable[[Sequence[ShardWrite]], None]:
    def refuse(writes: Sequence[ShardWrite]) -> None:
        if any(bad in json.loads(state) for write in writes for state in write.states.values()):
            raise SinkRejected("numeric field overflow")

    return refuse


def test_a_batch_is_stored_with_the_fence_of_its_last_event_and_counted() -> None:
    setup = Setup()
    assert setup.write((ANNA, 1), (OTHER, 2), (BEN, 3)) == WriteResult({7, 8}, set(), T_MS + 2, 0)
    assert setup.states() == {ANNA: [1], BEN: [3], OTHER: [2]}
    last = {event.shard: event for event in setup.log.events}
    for shard, event in last.items():
        fence = BEGUN._replace(seq=event.seq, position=event.position, event=digest_of(event))
        assert (setup.sink.held[shard], setup.shards[shard].fence, setup.shards[shard].stored) == (fence, fence, fence)


def test_nothing_ready_asks_nothing_of_the_sink() -> None:
    setup = Setup()
    setup.sink.before_apply = lambda writes: pytest.fail("nothing to write")
    assert setup.writer.write(setup.shards, {}) == WriteResult(set(), set(), 0, 0)


def test_a_lost_shard_is_told_and_the_others_are_won() -> None:
    setup = Setup()
    setup.write((ANNA, 1), (OTHER, 2))
    setup.sink.held[7] = setup.sink.held[7]._replace(incarnation="another")
    assert setup.write((ANNA, 3), (OTHER, 4)) == WriteResult({8}, {7}, T_MS + 3, 0)
    assert setup.states() == {ANNA: [1], OTHER: [2, 4]}
    assert setup.shards[7].fence.seq == 1


def test_parked_keys_are_counted_by_shards_that_were_won(caplog: pytest.LogCaptureFixture) -> None:
    setup = Setup()
    setup.write((ANNA, 1), (OTHER, 2))
    setup.sink.held[8] = setup.sink.held[8]._replace(incarnation="another")
    with caplog.at_level(logging.ERROR, "ridelog.projections"):
        done = setup.write((ANNA, "poison"), (BEN, "poison"), (OTHER, "poison"), (EVE, 5))
    assert done == WriteResult({7}, {8}, T_MS + 5, 2)
    assert set(setup.shards[7].parked) == set(setup.sink.all_parked()) == {ANNA, BEN}
    assert setup.shards[8].parked == {}
    marks = setup.sink.all_parked()
    assert marks[ANNA].parked_at_ms == NOW_MS
    said = [{name: getattr(record, name) for name in LOGGED_FIELDS} for record in caplog.records]
    assert said == [
        {
            "projection": "speed",
            "key": key,
            "position": marks[key].position,
            "kind": "fold",
            "reason": marks[key].reason,
        }
        for key in (ANNA, BEN)
    ]


def test_parked_keys_of_all_shards_of_a_batch_are_counted() -> None:
    setup = Setup()
    assert setup.write((ANNA, "poison"), (OTHER, "poison"), (BEN, "poison")) == WriteResult({7, 8}, set(), 0, 3)


LOGGED_FIELDS = ("projection", "key", "position", "kind", "reason")


def test_a_parked_key_and_a_discarded_event_are_passed_over() -> None:
    setup = Setup()
    setup.write((ANNA, "poison"))
    setup.writer.discarded = frozenset({3})
    assert setup.write((ANNA, 2), (BEN, "poison"), (BEN, 4)) == WriteResult({7}, set(), T_MS + 3, 0)
    assert setup.states() == {BEN: [4]}


@pytest.mark.parametrize("at", range(5))
def test_of_a_batch_that_the_sink_refuses_one_event_is_held_back_wherever_it_is(at: int) -> None:
    setup = Setup()
    setup.sink.before_apply = refusing("bad")
    given: list[tuple[str, Any]] = [(BEN, n) for n in range(5)]
    given[at] = (ANNA, "bad")
    assert setup.write(*given) == WriteResult({7}, set(), T_MS + (4 if at < 4 else 3), 1)
    assert setup.states() == {BEN: [n for n in range(5) if n != at]}
    mark = setup.sink.all_parked()[ANNA]
    event = setup.log.events[at]
    assert (mark.seq, mark.position, mark.kind) == (event.seq, event.position, "refused")
    assert (mark.reason, mark.parked_at_ms) == ("SinkRejected: numeric field overflow", NOW_MS)
    last = setup.log.events[-1]
    assert setup.sink.held[7] == BEGUN._replace(seq=5, position=5, event=digest_of(last))
    assert setup.shards[7].fence == setup.sink.held[7]


def test_every_refused_event_of_a_batch_is_counted() -> None:
    setup = Setup()
    setup.sink.before_apply = refusing("bad")
    done = setup.write((ANNA, "bad"), (BEN, 1), (OTHER, "bad"), (EVE, "bad"), (BEN, 2))
    assert done == WriteResult({7, 8}, set(), T_MS + 4, 3)
    assert set(setup.sink.all_parked()) == {ANNA, OTHER, EVE}
    assert setup.states() == {BEN: [1, 2]}


@pytest.mark.parametrize(
    ("lost_at", "stored", "seq", "parked", "done"),
    [
        (1, {}, 0, [], WriteResult(set(), {7}, T_MS, 0)),
        (2, {BEN: [1]}, 1, [], WriteResult(set(), {7}, T_MS, 0)),
        (3, {BEN: [1]}, 2, [ANNA], WriteResult(set(), {7}, T_MS + 3, 1)),
        (4, {BEN: [1, 2], EVE: [3]}, 4, [ANNA], WriteResult({7}, set(), T_MS + 3, 1)),
    ],
)
def test_a_race_that_is_lost_while_a_batch_is_taken_apart_ends_that_shard(
    lost_at: int, stored: dict[str, Any], seq: int, parked: list[str], done: WriteResult
) -> None:
    """What was won before is stored, and the worker's state is as of that fence."""
    setup = Setup()
    refuse, came_through = refusing("bad"), 0

    def quicker(writes: Sequence[ShardWrite]) -> None:
        nonlocal came_through
        refuse(writes)
        came_through += 1
        if came_through == lost_at:
            setup.sink.held[7] = setup.sink.held.get(7, BEGUN)._replace(incarnation="another")

    setup.sink.before_apply = quicker
    # One after the other come through: the first event, the mark of the second, the last two.
    assert setup.write((BEN, 1), (ANNA, "bad"), (BEN, 2), (EVE, 3)) == done
    assert setup.states() == stored
    assert setup.shards[7].fence.seq == seq
    assert list(setup.shards[7].parked) == list(setup.sink.all_parked()) == parked


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_batch_of_one_refused_event_has_folded_nothing(is_lost: bool) -> None:
    """So it has no newest event time, whether or not its key could be parked."""
    setup = Setup()
    refuse = refusing("bad")

    def quicker(writes: Sequence[ShardWrite]) -> None:
        refuse(writes)
        if is_lost:
            setup.sink.held[7] = BEGUN._replace(incarnation="another")

    setup.sink.before_apply = quicker
    lost, won = WriteResult(set(), {7}, 0, 0), WriteResult({7}, set(), 0, 1)
    assert setup.write((ANNA, "bad")) == (lost if is_lost else won)


def test_a_key_whose_state_is_ahead_folds_on_where_its_state_ends() -> None:
    """Its entry is removed from the sink, and from the worker's shard, by the write that reaches that version."""
    setup = Setup()
    setup.sink.held[7] = BEGUN
    setup.sink.states[7][ANNA] = b"[91, 92]"
    setup.sink.marks[7][ANNA] = ParkedEvent(0, 0, 2, "GpsPing", "ahead", "from a snapshot", NOW_MS)
    setup.shards[7] = ShardState(BEGUN, BEGUN, setup.sink.marks[7])
    setup.write((ANNA, 1), (BEN, 1))
    assert set(setup.sink.all_parked()) == set(setup.shards[7].ahead) == {ANNA}
    setup.write((ANNA, 2), (ANNA, 3))
    assert setup.sink.all_parked() == setup.shards[7].ahead == {}
    setup.write((ANNA, 4))
    assert setup.states() == {ANNA: [91, 92, 3, 4], BEN: [1]}


def test_states_are_loaded_once_and_the_oldest_are_dropped() -> None:
    setup = Setup(cached=2)
    loads: list[dict[int, list[str]]] = []
    load = setup.sink.load

    def noted(keys: Mapping[int, Sequence[str]]) -> dict[int, dict[str, bytes]]:
        loads.append({shard: sorted(names) for shard, names in keys.items()})
        return load(keys)

    setup.sink.load = noted  # type: ignore[method-assign]
    setup.write((ANNA, 1))
    setup.write((ANNA, 2), (BEN, 3), (EVE, 4))
    setup.write((EVE, 5), (BEN, 6))
    setup.write((ANNA, 7), (OTHER, 8))
    assert [keys for keys in loads if keys] == [{7: sorted([BEN, EVE])}, {7: [ANNA]}]
    assert setup.states() == {ANNA: [1, 2, 7], BEN: [3, 6], EVE: [4, 5], OTHER: [8]}


def test_what_lies_in_a_shard_without_a_fence_is_not_read() -> None:
    setup = Setup()
    setup.sink.states[7][ANNA] = b"[99]"
    setup.write((ANNA, 1))
    assert setup.states() == {ANNA: [1]}


@pytest.mark.parametrize("more", [0, 1])
def test_so_many_parked_keys_are_taken_and_no_more(more: int) -> None:
    setup = Setup()
    keys = KEYS[: MAX_PARKED_PER_SHARD + more]
    half = len(keys) // 2
    setup.write(*((key, "poison") for key in keys[:half]))
    if not more:
        assert setup.write(*((key, "poison") for key in keys[half:])).parked == len(keys) - half
        assert len(setup.sink.all_parked()) == MAX_PARKED_PER_SHARD
        # Others go on.
        assert setup.write((OTHER, 1)).won == {8}
        return
    fence = setup.sink.held[7]
    with pytest.raises(BrokenFold, match=f"{half} keys of shard 7 of speed are parked, and {len(keys) - half} more"):
        setup.write(*((key, "poison") for key in keys[half:]))
    assert (len(setup.sink.all_parked()), setup.sink.held[7]) == (half, fence)


def test_a_checkpoint_goes_with_the_write_that_passes_it() -> None:
    setup = Setup()
    setup.writer = ShardWriter(LISTED, setup.sink, json.loads, 100, lambda: NOW_MS, snapshot_interval=2)
    seen: list[tuple[str, int]] = []

    def note(writes: Sequence[ShardWrite]) -> None:
        seen.extend((one.key, one.version) for write in writes for one in write.snapshots)

    setup.sink.before_apply = note
    setup.write(*((ANNA, n) for n in range(5)), (OTHER, 1))
    assert seen == [(ANNA, 2), (ANNA, 4)]


def test_rows_go_with_the_write() -> None:
    tabled = replace(
        LISTED, tables=ANALYTICS.tables, changes=lambda key, state: [RowChange("sums", (key,), (state[-1],))]
    )
    setup = Setup(projection=tabled)
    setup.write((ANNA, 1), (ANNA, 2), (OTHER, 5))
    assert {place[2]: row.add for place, row in setup.sink.all_rows().items()} == {(ANNA,): (3,), (OTHER,): (5,)}
