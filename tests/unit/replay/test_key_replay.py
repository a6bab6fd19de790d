"""Replay of a key: where it starts, how far it reads, what it rejects and which snapshots it saves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from domain.identifiers import SHARDS
from infrastructure.sinks.decorators import SnapshottingSink
from projections.core.ports import LoggedEvent
from projections.core.shard_processor import ProcessorLimits
from projections.core.snapshots import StateSnapshot
from projections.rebuild.catch_up import CatchUp
from projections.replay.as_of import AsOf, Unresolvable
from projections.replay.diff import first_difference
from projections.replay.explain import explain
from projections.replay.key_replay import KeyReplay, TooLong, steps
from projections.replay.shard_replay import replay_shard
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from tests.support.ports_in_memory.archive import MemoryArchive, MemorySnapshots
from tests.support.ports_in_memory.projection_ports import MemorySink, ServerUnavailable
from tests.support.worlds.replays import END_MS, LIMITS, decode, naive
from tests.support.worlds.rider_events import START_MS
from tests.support.worlds.speed_events import ping_data


def a_stream(count: int, key: str = "anna") -> MemoryArchive:
    log = MemoryArchive(lambda: END_MS)
    for second in range(count):
        data = ping_data(key, START_MS + second * 1_000, second)
        log.append(key, "GpsPing", data, recorded_ms=START_MS + second * 1_000)
    return log


def states(log: MemoryArchive, upto: int) -> bytes | None:
    return naive(SPEED, log.events[:upto]).state


def test_a_replay_starts_at_the_snapshot_before_and_folds_few_events() -> None:
    log = a_stream(100)
    kept = MemorySnapshots(log, 10)
    replay = KeyReplay(ReplaySource(SPEED, log, decode), kept, snapshot_interval=10)
    first = replay.at("anna", log.horizon(AsOf.at_position(100)))
    assert first is not None
    assert (first.events, len(kept.kept)) == (100, 10)
    for as_of in (AsOf.at_position(57), AsOf.known(START_MS + 56_000), AsOf.happened(START_MS + 56_999)):
        again = replay.at("anna", log.horizon(as_of))
        assert again is not None
        assert again.state is not None
        assert (again.events, SPEED.encode(again.state)) == (7, states(log, 57))


@pytest.mark.parametrize("missing", [10, 50, 90])
def test_a_missing_snapshot_costs_one_replay_by_event_time_and_not_the_next(missing: int) -> None:
    """A crash between serving and saving loses a snapshot. Unrepaired, every replay would fold the rest again."""
    log = a_stream(100)
    kept = MemorySnapshots(log, 10)
    replay = KeyReplay(ReplaySource(SPEED, log, decode), kept, snapshot_interval=10)
    replay.at("anna", log.horizon(AsOf.at_position(100)))
    was = kept.kept.pop(("anna", missing))
    horizon = log.horizon(AsOf.happened(START_MS + 96_000))
    first, again = replay.at("anna", horizon), replay.at("anna", horizon)
    assert first is not None
    assert again is not None
    assert (first.events, again.events) == (97 - missing + 10, 7)
    assert first.state == again.state
    assert kept.kept["anna", missing] == was


def test_a_replay_by_event_time_saves_no_state_that_lacks_a_later_event() -> None:
    log = MemoryArchive(lambda: END_MS)
    # The fifth of each ten happened an hour after the others.
    for second in range(40):
        ms = START_MS + second * 1_000 + (3_600_000 if second % 10 == 4 and second >= 10 else 0)
        log.append("anna", "GpsPing", ping_data("anna", ms, second), recorded_ms=START_MS + second * 1_000)
    kept = MemorySnapshots(log, 10)
    KeyReplay(ReplaySource(SPEED, log, decode), kept, snapshot_interval=10).at(
        "anna", log.horizon(AsOf.happened(START_MS + 60_000))
    )
    assert {place: one.state for place, one in kept.kept.items()} == {("anna", 10): states(log, 10)}


@pytest.mark.parametrize("as_of", [AsOf.at_position(95), AsOf.happened(START_MS + 94_000)], ids=lambda a: a.axis)
def test_too_many_events_are_rejected_and_the_snapshots_made_are_saved(as_of: AsOf) -> None:
    log = a_stream(100)
    kept = MemorySnapshots(log, 10)
    replay = KeyReplay(ReplaySource(SPEED, log, decode), kept, max_events=40, snapshot_interval=10)
    horizon = log.horizon(as_of)
    for _ in range(2):
        with pytest.raises(TooLong, match="40"):
            replay.at("anna", horizon)
    third = replay.at("anna", horizon)
    assert third is not None
    assert third.state is not None
    assert SPEED.encode(third.state) == states(log, 95)
    with pytest.raises(TooLong):
        KeyReplay(ReplaySource(SPEED, log, decode), max_events=40, snapshot_interval=10).at(
            "anna", log.horizon(AsOf.happened(START_MS + 90_000))
        )


class CountingArchive(MemoryArchive):
    """Counts the ranges that are read."""

    reads = 0

    def key_range(
        self, stream: str, key: str, after_version: int, upto_version: int, sent_by_ms: int | None
    ) -> list[LoggedEvent]:
        self.reads += 1
        return super().key_range(stream, key, after_version, upto_version, sent_by_ms)


@pytest.mark.parametrize("as_of", [AsOf.at_position(1_000), AsOf.happened(END_MS)], ids=lambda a: a.axis)
def test_events_after_a_parked_event_are_not_read(as_of: AsOf) -> None:
    log = CountingArchive(lambda: END_MS)
    for second in range(1_000):
        log.append("anna", "GpsPing", ping_data("anna", START_MS + second, second), recorded_ms=START_MS)
    log.damage(3)
    found = KeyReplay(ReplaySource(SPEED, log, decode), snapshot_interval=10).at("anna", log.horizon(as_of))
    assert found is not None
    assert found.parked is not None
    assert found.parked.position == 3
    # Again on the axis event: an event that cannot be decoded has its time as sent, which only the archive knows.
    assert log.reads <= 3


@pytest.mark.parametrize("as_of", [AsOf.at_position(30), AsOf.happened(END_MS)], ids=lambda a: a.axis)
@pytest.mark.parametrize("gone", [1, 4, 10, 15, 29])
def test_a_stream_without_its_beginning_is_folded_from_a_snapshot_or_not_at_all(as_of: AsOf, gone: int) -> None:
    """The rest alone would give a state that the key never had."""
    log = a_stream(30)
    kept = MemorySnapshots(log, 10)
    KeyReplay(ReplaySource(SPEED, log, decode), kept, snapshot_interval=10).at(
        "anna", log.horizon(AsOf.at_position(19))
    )
    log.detach(gone)
    horizon = log.horizon(as_of)
    with pytest.raises(Unresolvable) as caught:
        KeyReplay(ReplaySource(SPEED, log, decode), snapshot_interval=10).at("anna", horizon)
    assert caught.value.code == "log_begins_later"
    with pytest.raises(Unresolvable):
        replay_shard(ReplaySource(SPEED, log, decode), log.events[0].shard, horizon)
    replay = KeyReplay(ReplaySource(SPEED, log, decode), kept, snapshot_interval=10)
    if gone > 10:
        with pytest.raises(Unresolvable):
            replay.at("anna", horizon)
        return
    found = replay.at("anna", horizon)
    assert found is not None
    assert found.state is not None
    assert SPEED.encode(found.state) == states(log, 30)


@pytest.mark.parametrize("as_of", [AsOf.at_position(32), AsOf.happened(END_MS)], ids=lambda a: a.axis)
@pytest.mark.parametrize("snapshots", [False, True])
def test_a_key_whose_events_were_all_detached_does_not_pass_for_an_unknown_one(as_of: AsOf, snapshots: bool) -> None:
    """A training row without a value would say that nothing was known of it; one from a snapshot may be too old."""
    log = a_stream(30)
    for second in (30, 31):
        log.append("ben", "GpsPing", ping_data("ben", START_MS + second * 1_000, second), recorded_ms=START_MS + 30_000)
    kept = MemorySnapshots(log, 10) if snapshots else None
    of = ReplaySource(SPEED, log, decode)
    KeyReplay(of, kept, snapshot_interval=10).at("anna", log.horizon(AsOf.at_position(25)))
    replay = KeyReplay(of, kept, snapshot_interval=10)
    log.detach(30)
    horizon = log.horizon(as_of)
    with pytest.raises(Unresolvable, match="no event of anna is left") as caught:
        replay.at("anna", horizon)
    assert caught.value.code == "log_begins_later"
    with pytest.raises(Unresolvable):
        replay.check_not_detached("anna", horizon)
    assert replay.at("ben", horizon) is not None
    # No event of carl's shard was ever recorded.
    assert replay.at("carl", horizon) is None


def test_a_key_that_begins_after_an_instant_was_unknown_then_though_the_beginning_is_detached() -> None:
    log = a_stream(30)
    log.append("ben", "GpsPing", ping_data("ben", START_MS + 40_000, 40), recorded_ms=START_MS + 40_000)
    log.detach(29)
    replay = KeyReplay(ReplaySource(SPEED, log, decode))
    assert replay.at("ben", log.horizon(AsOf.at_position(30))) is None
    assert replay.at("ben", log.horizon(AsOf.happened(START_MS + 35_000))) is None


@pytest.mark.parametrize("gone", [1, 4, 15])
def test_steps_of_a_key_need_all_events_on_the_way(gone: int) -> None:
    """A snapshot after the detached events gives the values at the end, but not those before it."""
    log = a_stream(30)
    kept = MemorySnapshots(log)
    kept.save([StateSnapshot("anna", 20, 20, states(log, 20) or b"", log.events[19].payload)], verified=True)
    log.detach(gone)
    early, late = (log.horizon(AsOf.at_position(position)) for position in (22, 30))
    of = (ReplaySource(SPEED, log, decode), kept, "anna")
    assert [step.version for step in steps(*of, late, 9, LIMITS)] == list(range(22, 31))
    assert first_difference(*of, early, late) == (23, 23, "right")
    with pytest.raises(Unresolvable, match="detached"):
        list(steps(*of, late, 30, LIMITS))
    with pytest.raises(Unresolvable, match="detached"):
        explain(*of, late)
    with pytest.raises(Unresolvable, match="detached"):
        first_difference(*of, late, log.horizon(AsOf.happened(START_MS + 25_000)))


def test_a_discarded_event_is_not_listed_as_too_late() -> None:
    log, frame = a_stream(30), b"\0\0\0\0\2"
    log.events[:] = [event._replace(payload=frame + event.payload) for event in log.events]
    log.discards.add(7)

    def framed(payload: bytes) -> Any:
        return decode(payload.removeprefix(frame))

    found = explain(ReplaySource(SPEED, log, framed), None, "anna", log.horizon(AsOf.at_position(30)))
    assert found is not None
    assert ([entry["version"] for entry in found.window], found.too_late) == (list(range(21, 31)), [])


def test_a_key_parked_on_both_sides_has_no_difference_after_that() -> None:
    log = a_stream(30)
    log.damage(5)
    early, late = (log.horizon(AsOf.at_position(position)) for position in (20, 30))
    assert first_difference(ReplaySource(SPEED, log, decode), None, "anna", early, late) is None


class ReadOnly(MemorySnapshots):
    """A snapshot store that cannot be written to, as on a standby."""

    def save(self, snapshots: Sequence[StateSnapshot], *, verified: bool) -> None:
        raise ServerUnavailable("read-only")


def test_a_replay_does_not_depend_on_saving_snapshots() -> None:
    log = a_stream(30)
    found = KeyReplay(ReplaySource(SPEED, log, decode), ReadOnly(log, 10), snapshot_interval=10).at(
        "anna", log.horizon(AsOf.at_position(30))
    )
    assert found is not None
    assert found.state is not None
    assert SPEED.encode(found.state) == states(log, 30)


def test_serving_does_not_depend_on_snapshots() -> None:
    log, inner = a_stream(30), MemorySink()
    sink = SnapshottingSink(inner, ReadOnly(log, 10), SPEED)
    CatchUp(SPEED, log, sink, decode, range(SHARDS), ProcessorLimits(snapshot_interval=10)).run()
    assert inner.all_states() == {"anna": states(log, 30)}


def test_only_a_write_that_won_its_compare_and_set_saves_snapshots() -> None:
    log = a_stream(30)
    kept = MemorySnapshots(log, 10)
    inner = MemorySink()
    sink = SnapshottingSink(inner, kept, SPEED)

    def lose(writes: Sequence[Any]) -> None:
        inner.before_apply = lambda _: None
        CatchUp(SPEED, log, inner, decode, range(SHARDS)).run()

    inner.before_apply = lose
    CatchUp(SPEED, log, sink, decode, range(SHARDS), ProcessorLimits(snapshot_interval=10)).run()
    assert kept.kept == {}
    assert inner.all_states() == {"anna": states(log, 30)}


@pytest.mark.parametrize("start", [True, False], ids=["verified", "not verified"])
@pytest.mark.parametrize("as_of", [AsOf.at_position(57), AsOf.happened(START_MS + 56_999)], ids=["known", "happened"])
def test_a_snapshot_is_verified_only_if_its_start_is(start: bool, as_of: AsOf) -> None:
    """Otherwise an error of live folding would be compared with itself, and found equal, from the next snapshot on."""
    log = a_stream(60)
    kept = MemorySnapshots(log, 10)
    replay = KeyReplay(ReplaySource(SPEED, log, decode), kept, snapshot_interval=10)
    replay.at("anna", log.horizon(AsOf.at_position(20)))
    for place, one in kept.kept.items():
        kept.kept[place] = one._replace(verified=start)
    replay.at("anna", log.horizon(as_of))
    assert {one.version: one.verified for one in kept.kept.values()} == dict.fromkeys((10, 20, 30, 40, 50), start)
