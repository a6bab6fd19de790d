"""The latest events of a key with the state after each: those of a fold of all its events, one by one."""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events.contracts import UndecodableError
from domain.features.keyed_event import KeyedEvent
from projections.core.ports import LoggedEvent
from projections.replay.as_of import AsOf, Unresolvable
from projections.replay.key_replay import KeyReplay, TooLong
from projections.replay.latest_steps import LatestSteps
from projections.replay.remembered_parts import RememberedParts
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from tests.support.ports_in_memory.archive import MemoryArchive, MemorySnapshots
from tests.support.worlds.replays import END_MS, Story, asks, decode, stories, within
from tests.support.worlds.rider_events import START_MS
from tests.support.worlds.speed_events import ping_data

INTERVAL = 5
SOURCES = {"axis event": AsOf.happened(END_MS), "axis position": AsOf.at_position(40)}


def a_stream(count: int) -> MemoryArchive:
    log = MemoryArchive(lambda: END_MS)
    for second in range(count):
        ms = START_MS + second * 1_000
        log.append("anna", "GpsPing", ping_data("anna", ms, second), recorded_ms=ms)
    return log


def one_by_one(
    events: Sequence[LoggedEvent], most: int, discarded: Container[int] = (), *, to_parked: bool = False
) -> list[tuple[LoggedEvent, Any]]:
    """Folds all events from the first; ``to_parked``: the steps end with the last event that is folded."""
    state, parked, folded = None, False, 0
    found: list[tuple[LoggedEvent, Any]] = []
    for event in events:
        if not parked and event.position not in discarded:
            try:
                data = decode(event.payload)
            except UndecodableError:
                parked = True
            else:
                before = SPEED.initial if state is None else state
                state = SPEED.fold(before, KeyedEvent(event.key, event.version, event.position, event.event_type, data))
                folded = event.version
        found.append((event, state))
    last = folded if to_parked else max([event.version for event in events], default=0)
    return [(event, after) for event, after in found if last - most < event.version <= last]


def steps_of(
    log: MemoryArchive, as_of: AsOf, most: int, snapshots: MemorySnapshots | None = None, key: str = "anna"
) -> list[tuple[LoggedEvent, Any]]:
    latest = LatestSteps(ReplaySource(SPEED, log, decode), snapshots, most, snapshot_interval=INTERVAL)
    return [(step.event, step.state) for step in latest.of(key, log.horizon(as_of))]


@given(stories(), st.integers(0, 1 << 32))
def test_steps_are_those_of_a_fold_of_all_events_on_every_axis(story: Story, seed: int) -> None:
    """Given late, repeated and simultaneous events and clocks that are ahead, then snapshots change no step."""
    chance = random.Random(seed)
    snapshots = MemorySnapshots(story.log, INTERVAL)
    for key, as_of in asks(story.raw, chance, 6):
        most = chance.choice([1, 3, 7, 20, 200])
        expected = one_by_one(within(story, as_of, key), most)
        assert steps_of(story.log, as_of, most, key=key) == expected
        # Twice: the first read saves snapshots that the second one starts from.
        for _ in range(2):
            assert steps_of(story.log, as_of, most, snapshots, key) == expected


@pytest.mark.parametrize("as_of", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("most", [1, 4, 12, 100])
@pytest.mark.parametrize(
    ("discarded", "damaged"), [({40}, 0), ({2, 17, 38, 39}, 0), (set(), 37), ({36}, 37), (set(), 1)]
)
def test_discarded_and_parked_events_leave_the_states_of_the_others(
    as_of: AsOf, most: int, discarded: set[int], damaged: int
) -> None:
    """Given discarded events, or one that parks its key, when the steps are read, then states are as in serving."""
    log = a_stream(40)
    if damaged:
        log.damage(damaged)
    log.discards |= discarded
    expected = one_by_one(log.events, most, discarded, to_parked=as_of.axis == "event")
    snapshots = MemorySnapshots(log, INTERVAL)
    for _ in range(2):
        assert steps_of(log, as_of, most, snapshots) == expected


@pytest.mark.parametrize("as_of", [AsOf.happened(START_MS + 93_000), AsOf.at_position(94)], ids=lambda a: a.axis)
@pytest.mark.parametrize("most", [3, 10, 33])
def test_no_more_is_folded_than_from_the_snapshot_before_the_first_step(as_of: AsOf, most: int) -> None:
    log = a_stream(100)
    snapshots = MemorySnapshots(log, INTERVAL)
    KeyReplay(ReplaySource(SPEED, log, decode), snapshots, snapshot_interval=INTERVAL).at(
        "anna", log.horizon(AsOf.at_position(100))
    )
    latest = LatestSteps(
        ReplaySource(SPEED, log, decode), snapshots, most, max_events=most + INTERVAL, snapshot_interval=INTERVAL
    )
    assert [step.event.version for step in latest.of("anna", log.horizon(as_of))] == list(range(95 - most, 95))


def test_too_many_events_are_rejected() -> None:
    log = a_stream(100)
    latest = LatestSteps(ReplaySource(SPEED, log, decode), None, 10, max_events=40, snapshot_interval=INTERVAL)
    for as_of in (AsOf.happened(END_MS), AsOf.at_position(100)):
        with pytest.raises(TooLong, match="40"):
            latest.of("anna", log.horizon(as_of))


@pytest.mark.parametrize("as_of", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("detached", [28, 35])
def test_steps_after_detached_events_need_a_snapshot(as_of: AsOf, detached: int) -> None:
    """Given a log whose beginning was detached, then steps are read only where the states before are known."""
    log = a_stream(40)
    snapshots = MemorySnapshots(log, INTERVAL)
    expected = steps_of(log, as_of, 8, snapshots)
    log.detach(detached)
    if detached <= 30:
        assert steps_of(log, as_of, 8, snapshots) == expected
    else:
        with pytest.raises(Unresolvable, match="detached"):
            steps_of(log, as_of, 8, snapshots)


def remembering(
    log: MemoryArchive,
    memory: RememberedParts[Any],
    as_of: AsOf,
    most: int,
    snapshots: MemorySnapshots | None = None,
    key: str = "anna",
    read: Callable[[bytes], Mapping[str, Any]] = decode,
) -> LatestSteps[Any]:
    """A replay of one key with what is remembered of those before, as ``RiderTracks`` makes it."""
    horizon, remembered = log.horizon(as_of), memory.of(key)
    has_ends = all(log.holds(e.key, e.version, e.position, e.payload) for e in remembered.ends()) and all(
        e.position >= log.first for e in remembered.ends()
    )
    last = log.last_version(SPEED.stream, key, horizon.position)
    parts = remembered.confirmed(horizon.log_id, log.discarded(SPEED.name), last, has_ends=has_ends)
    return LatestSteps(ReplaySource(SPEED, log, read), snapshots, most, snapshot_interval=memory.interval, parts=parts)


def remembered_steps(
    log: MemoryArchive,
    memory: RememberedParts[Any],
    as_of: AsOf,
    most: int,
    snapshots: MemorySnapshots | None = None,
    key: str = "anna",
) -> list[tuple[LoggedEvent, Any]]:
    latest = remembering(log, memory, as_of, most, snapshots, key)
    return [(step.event, step.state) for step in latest.of(key, log.horizon(as_of))]


@given(stories(), st.integers(0, 1 << 32), st.integers(1, 8))
def test_what_is_remembered_changes_no_step_and_no_state_on_any_axis(story: Story, seed: int, parts: int) -> None:
    """Given many instants of several riders that are read in turn, then each is as if it were read first.

    Events come in between, others are discarded, and few parts are remembered.
    """
    chance = random.Random(seed)
    log, later = MemoryArchive(lambda: END_MS), list(reversed(story.raw))

    def record(count: int) -> None:
        for _ in range(min(count, len(later))):
            data = dict(later.pop())
            event_type, recorded_ms = data.pop("event_type"), data.pop("recorded_ms")
            log.append(data["rider_id"], event_type, data, recorded_ms=recorded_ms)

    record(chance.randint(1, len(later)))
    snapshots = MemorySnapshots(log, INTERVAL)
    memory: RememberedParts[Any] = RememberedParts(max_parts=parts, interval=INTERVAL)
    for key, as_of in asks(story.raw, chance, 25):
        if chance.random() < 0.2:
            record(chance.randint(1, 7))
        if chance.random() < 0.05:
            log.discards.add(chance.randint(1, len(story.raw)))
            snapshots.kept.clear()
        if as_of.position is not None:
            as_of = as_of._replace(position=min(as_of.position, len(log.events)))
        most = chance.choice([1, 3, 7, 20, 200])
        kept = chance.choice([None, snapshots])
        assert remembered_steps(log, memory, as_of, most, kept, key) == steps_of(log, as_of, most, None, key)
        horizon = log.horizon(as_of)
        alone = KeyReplay(ReplaySource(SPEED, log, decode), None, snapshot_interval=INTERVAL)
        found = remembering(log, memory, as_of, 1, kept, key).at(key, horizon)
        expected = alone.at(key, horizon)
        assert (found and found.state) == (expected and expected.state)
        assert len(memory) <= parts


@pytest.mark.parametrize("as_of", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("damaged", [1, 7, 11, 37])
def test_a_parked_key_stays_parked_after_it_was_remembered(as_of: AsOf, damaged: int) -> None:
    """Given an event that cannot be decoded, when instants after it are read twice, then it is where states end."""
    log, memory = a_stream(40), RememberedParts[Any](interval=INTERVAL)
    log.damage(damaged)
    expected = one_by_one(log.events, 100, (), to_parked=as_of.axis == "event")
    for _ in range(3):
        assert remembered_steps(log, memory, as_of, 100) == expected


@pytest.mark.parametrize("as_of", SOURCES.values(), ids=SOURCES)
def test_a_log_that_was_restored_is_read_again(as_of: AsOf) -> None:
    """Invariant 14: given parts of a log that was restored to an earlier point, then other events are folded."""
    log, memory = a_stream(40), RememberedParts[Any](interval=INTERVAL)
    assert remembered_steps(log, memory, as_of, 100) == one_by_one(log.events, 100)
    del log.events[22:], log._times[22:]
    for second in range(500, 518):
        ms = START_MS + second * 1_000
        log.append("anna", "GpsPing", ping_data("anna", ms, second), recorded_ms=ms)
    assert remembered_steps(log, memory, as_of, 100) == one_by_one(log.events, 100)


@pytest.mark.parametrize("as_of", SOURCES.values(), ids=SOURCES)
def test_what_was_detached_is_not_answered_from_memory(as_of: AsOf) -> None:
    log, memory = a_stream(40), RememberedParts[Any](interval=INTERVAL)
    remembered_steps(log, memory, as_of, 8)
    remembered_steps(log, memory, as_of, 100)
    log.detach(3)
    with pytest.raises(Unresolvable, match="detached"):
        remembered_steps(log, memory, as_of, 8)


@pytest.mark.parametrize("as_of", SOURCES.values(), ids=SOURCES)
def test_a_replay_again_folds_the_last_event_of_each_part_alone(as_of: AsOf) -> None:
    """Given a stream that was folded for an instant, when it is read again, then hardly an event is folded."""
    log, memory = a_stream(40), RememberedParts[Any](interval=INTERVAL)
    snapshots = MemorySnapshots(log, INTERVAL)
    # The first one stores the snapshots.
    remembered_steps(log, memory, as_of, 20, snapshots)
    expected = remembered_steps(log, memory, as_of, 20, snapshots)
    decoded: list[bytes] = []

    def counting(payload: bytes) -> Mapping[str, Any]:
        decoded.append(payload)
        return decode(payload)

    again = remembering(log, memory, as_of, 20, snapshots, read=counting).of("anna", log.horizon(as_of))
    assert [(step.event, step.state) for step in again] == expected
    assert len(decoded) <= 20 // INTERVAL + 1
    assert all(step.event is event for step, (event, _) in zip(again, expected, strict=True))


def test_parts_that_are_not_asked_for_are_forgotten() -> None:
    """Given parts of two riders, when one was not asked for until its age, then the next use drops it."""
    now_s = [1_000.0]
    log = a_stream(20)
    memory = RememberedParts[Any](interval=INTERVAL, max_age_s=60, monotonic=lambda: now_s[0])
    log.append("ben", "GpsPing", ping_data("ben", START_MS, 900), recorded_ms=START_MS + 20_000)
    as_of = AsOf.at_position(21)
    remembered_steps(log, memory, as_of, 8)
    anna = len(memory)
    remembered_steps(log, memory, as_of, 8, key="ben")
    assert len(memory) == anna + 1
    now_s[0] += 59
    remembered_steps(log, memory, as_of, 8, key="ben")
    assert len(memory) == anna + 1
    now_s[0] += 2
    remembered_steps(log, memory, as_of, 8, key="ben")
    assert len(memory) == 1
