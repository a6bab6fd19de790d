"""The StateSnapshots port, on every adapter: in memory and in Postgres."""

from __future__ import annotations

import random

import pytest

from domain.identifiers import shard_of
from infrastructure.event_store.recorder import EventRecorder
from projections.core.snapshots import EventRange, ReplayStart, StoredSnapshot
from tests.support.worlds.archive_worlds import T0, Given, MemoryWorld, PostgresWorld, World
from tests.support.worlds.log_snapshots import END, FAR, of, recorded, versions


def test_where_none_was_kept_there_is_none(world: World) -> None:
    recorded(world, "anna", 1, 2)
    kept = world.snapshots(2)
    kept.save([], verified=False)
    assert kept.latest("anna", END) is None
    assert kept.at("anna", 2) is None
    assert kept.decided("anna", END, FAR) == []


def test_the_latest_is_the_last_one_at_a_position(world: World) -> None:
    recorded(world, "ben", 1)
    events = recorded(world, "anna", 1, 2, 3, 4, 5)
    kept = world.snapshots(2)
    states = {2: b"\x00two\xff", 4: b""}
    kept.save([of(events[v - 1], states[v]) for v in states], verified=False)
    two, four = StoredSnapshot(2, 3, states[2], False), StoredSnapshot(4, 5, states[4], False)
    assert [kept.latest("anna", position) for position in range(8)] == [None, None, None, two, two, four, four, four]
    assert [kept.at("anna", position) for position in range(7)] == [None, None, None, two, None, four, None]
    assert kept.latest("ben", END) is None


def test_a_stretch_is_decided_where_all_or_none_of_it_had_happened(world: World) -> None:
    events = recorded(world, "anna", 50, 20, 40, 10, 60, 30, 5)
    kept = world.snapshots(3)
    kept.save([of(events[2]), of(events[5])], verified=False)

    def at(ms: int, position: int = END) -> list[EventRange]:
        return kept.decided("anna", position, T0 + ms)

    # The first three happened from 20 to 50, the next three from 10 to 60.
    assert at(-1) == at(9) == [EventRange(0, 6, 6, False)]
    assert at(10) == at(19) == [EventRange(0, 3, 3, False)]
    assert at(20) == at(49) == []
    assert at(50) == at(59) == [EventRange(0, 3, 3, True)]
    assert at(60) == at(FAR) == [EventRange(0, 6, 6, True)]
    assert kept.decided("anna", END, -FAR) == [EventRange(0, 6, 6, False)]
    assert at(9, 6) == [EventRange(0, 6, 6, False)]
    assert at(9, 5) == [EventRange(0, 3, 3, False)]
    assert at(9, 2) == []


def test_a_stretch_of_which_none_was_sent_before_a_later_instant_is_decided(world: World) -> None:
    events = recorded(world, "anna", 50, 20, 40, 10, 60, 30, 5)
    kept = world.snapshots(3)
    kept.save([of(events[2]), of(events[5])], verified=False)
    found = [kept.decided("anna", END, T0 - 1, T0 + ms) for ms in (9, 10, 19, 20)]
    first = EventRange(0, 3, 3, False)
    assert found == [[EventRange(0, 6, 6, False)], [first], [first], []]
    assert kept.decided("anna", END, T0 + 50, T0 + FAR) == [EventRange(0, 3, 3, True)]


def test_others_decide_nothing_of_a_stretch(world: World) -> None:
    world.record([Given("ben", T0 - 99), Given("anna", T0), Given("ben", T0 + 99), Given("anna", T0 + 1)], T0)
    kept = world.snapshots(2)
    kept.save([of(world.archive.key_range("Rider", "anna", 1, 2, None)[0])], verified=True)
    found = [kept.decided("anna", END, T0 + ms) for ms in (-1, 0, 1)]
    assert found == [[EventRange(0, 2, 4, False)], [], [EventRange(0, 2, 4, True)]]


def test_only_adjacent_ranges_of_one_kind_are_merged(world: World) -> None:
    # Two by two: before, before, after, none kept, after, before, both, before, before, after.
    events = recorded(world, "anna", 1, 2, 3, 1, 8, 9, 8, 8, 9, 9, 2, 1, 1, 9, 1, 1, 2, 2, 7, 9)
    kept = world.snapshots(2)
    kept.save([of(event) for event in events if event.version % 2 == 0 and event.version != 8], verified=False)
    assert kept.decided("anna", END, T0 + 5) == [
        EventRange(0, 4, 4, True),
        EventRange(4, 6, 6, False),
        EventRange(8, 10, 10, False),
        EventRange(10, 12, 12, True),
        EventRange(14, 18, 18, True),
        EventRange(18, 20, 20, False),
    ]


def test_what_is_decided_is_what_the_events_say(postgres: PostgresWorld) -> None:
    """As in memory, where it is computed from the events themselves: whatever is missing, whenever, up to wherever."""
    memory = MemoryWorld()
    chance = random.Random(5)
    happened = [number * 3 + chance.choice([0, 0, 1, -40, -150]) for number in range(120)]
    # In one transaction: a partition has few positions, and reading looks into each.
    given = [Given("anna", T0 + ms) for ms in happened]
    memory.record(given, T0)
    EventRecorder(postgres.writer).insert_events([postgres.event(one) for one in given])
    for every in (1, 2, 5):
        worlds: list[World] = [memory, postgres]
        both = [world.snapshots(every) for world in worlds]
        for world, kept in zip(worlds, both, strict=True):
            events = world.archive.key_range("Rider", "anna", 0, END, None)
            which = random.Random(every)
            kept.save([of(e) for e in events if e.version % every == 0 and which.random() < 0.9], verified=True)
        for _ in range(60):
            position, at_ms = chance.randrange(130), T0 + chance.randrange(-160, 370)
            after_ms = chance.choice([None, at_ms, at_ms + chance.randrange(200)])
            found = [kept.decided("anna", position, at_ms, after_ms) for kept in both]
            assert found[0] == found[1]


def test_a_snapshot_of_an_event_that_is_not_in_the_log_is_not_saved(world: World) -> None:
    """A worker may still fold events that a restore removed: the log then has another event there, or none."""
    one, two, three, four = recorded(world, "anna", 1, 2, 3, 4)
    recorded(world, "ben", 1)
    wrong = [
        of(one)._replace(payload=b"another"),
        of(two)._replace(position=three.position),
        of(three)._replace(version=5),
        of(one)._replace(version=99, position=99),
        of(one)._replace(key="ben"),
        of(one)._replace(key="nobody"),
    ]
    kept = world.snapshots(2)
    for verified in (False, True):
        kept.save([*wrong, of(four)], verified=verified)
        assert versions(kept, "anna") == [4]
        assert versions(kept, "ben") == versions(kept, "nobody") == []


def test_only_a_verified_snapshot_replaces_another(world: World) -> None:
    events = recorded(world, "anna", 1, 2, 3, 4)
    kept = world.snapshots(2)
    kept.save([of(events[1], b"live")], verified=False)
    kept.save([of(events[1], b"other")], verified=False)
    assert kept.at("anna", 2) == StoredSnapshot(2, 2, b"live", False)
    kept.save([of(events[1], b"folded")], verified=True)
    assert kept.at("anna", 2) == StoredSnapshot(2, 2, b"folded", True)
    kept.save([of(events[1], b"live"), of(events[3], b"live")], verified=False)
    assert kept.at("anna", 2) == StoredSnapshot(2, 2, b"folded", True)
    kept.save([of(events[1], b"again")], verified=True)
    assert kept.latest("anna", 3) == StoredSnapshot(2, 2, b"again", True)
    # The later one was saved by the live worker only, so it is unverified.
    assert kept.latest("anna", END) == StoredSnapshot(4, 4, b"live", False)
    assert kept.latest("anna", END, verified=True) == StoredSnapshot(2, 2, b"again", True)


@pytest.mark.parametrize("verified", [False, True])
def test_the_same_snapshot_twice_in_a_call_is_saved_once(world: World, verified: bool) -> None:
    events = recorded(world, "anna", 1, 2)
    kept = world.snapshots(2)
    kept.save([of(events[1]), of(events[1])], verified=verified)
    assert kept.latest("anna", END) == StoredSnapshot(2, 2, b"state", verified)


def test_many_are_saved_at_once(world: World) -> None:
    keys = [f"rider-{number}" for number in range(200)]
    world.record([Given(key, T0) for key in keys], T0)
    kept = world.snapshots(1)
    kept.save([of(world.archive.key_range("Rider", key, 0, 1, None)[0], b"x" * 600) for key in keys], verified=False)
    assert all(kept.at(key, position) is not None for position, key in enumerate(keys, start=1))


def test_a_refold_starts_at_the_last_verified_one_of_each_key_of_the_shard(world: World) -> None:
    shard = shard_of("anna")
    other = next(key for n in range(10_000) if shard_of(key := f"key-{n}") == shard)
    elsewhere = next(key for n in range(10_000) if shard_of(key := f"key-{n}") != shard)
    events = recorded(world, "anna", 1, 2, 3, 4, 5, 6)
    others, far = recorded(world, other, 1, 2), recorded(world, elsewhere, 1, 2)
    kept = world.snapshots(2)
    assert kept.starts(shard) == []
    kept.save([of(events[1], b"2"), of(events[3], b"4"), of(others[1], b"o"), of(far[1], b"f")], verified=True)
    kept.save([of(events[5], b"6")], verified=False)
    assert kept.starts(shard) == [ReplayStart("anna", 4, 4, 4, b"4"), ReplayStart(other, 8, 2, 8, b"o")]
