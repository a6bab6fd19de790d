"""The Checkpoints port, on every adapter: in memory and in Postgres."""

from __future__ import annotations

import random
import threading
from dataclasses import replace

import pytest
from sqlalchemy import text

from domain.identifiers import aggregate_id, shard_of
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.postgres.snapshots import PostgresStateSnapshots, forget_from
from projections.core.ports import LoggedEvent, PortUnavailable
from projections.core.snapshots import EventRange, ReplayStart, StateSnapshot, StateSnapshots, StoredSnapshot
from projections.digest.digest import fold_digest
from projections.locations import LOCATIONS
from projections.speed import SPEED
from tests.support.worlds.archive_worlds import T0, Given, MemoryWorld, PostgresWorld, World

_HELD = text("INSERT INTO checkpoints VALUES ('speed', :digest, :aggregate, :position, 5, 5, now(), now(), '', false)")
OTHER_FOLD = replace(SPEED, fold_version=SPEED.fold_version + 1)
END = 1 << 62
FAR = 1 << 62
"""Past all that a timestamp of any store can hold."""


def recorded(world: World, key: str, *event_ms: int) -> list[LoggedEvent]:
    world.record([Given(key, T0 + ms) for ms in event_ms], T0)
    return world.archive.key_range("Rider", key, 0, END, None)


def versions(kept: StateSnapshots, key: str) -> list[int]:
    """Of all of a key's checkpoints."""
    found: list[int] = []
    position = END
    while (one := kept.latest(key, position)) is not None:
        found.insert(0, one.version)
        position = one.position - 1
    return found


def of(event: LoggedEvent, state: bytes = b"state") -> StateSnapshot:
    return StateSnapshot(event.key, event.version, event.position, state, event.payload)


def test_where_none_was_kept_there_is_none(world: World) -> None:
    recorded(world, "anna", 1, 2)
    kept = world.checkpoints(2)
    kept.save([], verified=False)
    assert kept.latest("anna", END) is None
    assert kept.at("anna", 2) is None
    assert kept.decided("anna", END, FAR) == []


def test_the_latest_is_the_last_one_at_a_position(world: World) -> None:
    recorded(world, "ben", 1)
    events = recorded(world, "anna", 1, 2, 3, 4, 5)
    kept = world.checkpoints(2)
    states = {2: b"\x00two\xff", 4: b""}
    kept.save([of(events[v - 1], states[v]) for v in states], verified=False)
    two, four = StoredSnapshot(2, 3, states[2], False), StoredSnapshot(4, 5, states[4], False)
    assert [kept.latest("anna", position) for position in range(8)] == [None, None, None, two, two, four, four, four]
    assert [kept.at("anna", position) for position in range(7)] == [None, None, None, two, None, four, None]
    assert kept.latest("ben", END) is None


def test_a_stretch_is_decided_where_all_or_none_of_it_had_happened(world: World) -> None:
    events = recorded(world, "anna", 50, 20, 40, 10, 60, 30, 5)
    kept = world.checkpoints(3)
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


def test_others_decide_nothing_of_a_stretch(world: World) -> None:
    world.record([Given("ben", T0 - 99), Given("anna", T0), Given("ben", T0 + 99), Given("anna", T0 + 1)], T0)
    kept = world.checkpoints(2)
    kept.save([of(world.archive.key_range("Rider", "anna", 1, 2, None)[0])], verified=True)
    found = [kept.decided("anna", END, T0 + ms) for ms in (-1, 0, 1)]
    assert found == [[EventRange(0, 2, 4, False)], [], [EventRange(0, 2, 4, True)]]


def test_only_adjacent_ranges_of_one_kind_are_merged(world: World) -> None:
    # Two by two: before, before, after, none kept, after, before, both, before, before, after.
    events = recorded(world, "anna", 1, 2, 3, 1, 8, 9, 8, 8, 9, 9, 2, 1, 1, 9, 1, 1, 2, 2, 7, 9)
    kept = world.checkpoints(2)
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
        both = [world.checkpoints(every) for world in worlds]
        for world, kept in zip(worlds, both, strict=True):
            events = world.archive.key_range("Rider", "anna", 0, END, None)
            which = random.Random(every)
            kept.save([of(e) for e in events if e.version % every == 0 and which.random() < 0.9], verified=True)
        for _ in range(60):
            position, at_ms = chance.randrange(130), T0 + chance.randrange(-160, 370)
            found = [kept.decided("anna", position, at_ms) for kept in both]
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
    kept = world.checkpoints(2)
    for verified in (False, True):
        kept.save([*wrong, of(four)], verified=verified)
        assert versions(kept, "anna") == [4]
        assert versions(kept, "ben") == versions(kept, "nobody") == []


def test_only_a_verified_snapshot_replaces_another(world: World) -> None:
    events = recorded(world, "anna", 1, 2, 3, 4)
    kept = world.checkpoints(2)
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
    kept = world.checkpoints(2)
    kept.save([of(events[1]), of(events[1])], verified=verified)
    assert kept.latest("anna", END) == StoredSnapshot(2, 2, b"state", verified)


def test_many_are_saved_at_once(world: World) -> None:
    keys = [f"rider-{number}" for number in range(200)]
    world.record([Given(key, T0) for key in keys], T0)
    kept = world.checkpoints(1)
    kept.save([of(world.archive.key_range("Rider", key, 0, 1, None)[0], b"x" * 600) for key in keys], verified=False)
    assert all(kept.at(key, position) is not None for position, key in enumerate(keys, start=1))


# --- in Postgres, which several folds share


def test_each_fold_and_projection_has_its_own(postgres: PostgresWorld) -> None:
    events = recorded(postgres, "anna", 1, 2)
    mine, other_fold, other_model = (
        PostgresStateSnapshots(postgres.reader, projection, 2) for projection in (SPEED, OTHER_FOLD, LOCATIONS)
    )
    mine.save([of(events[1], b"mine")], verified=True)
    for other in (other_fold, other_model):
        assert other.latest("anna", END) is other.at("anna", 2) is None
        assert versions(other, "anna") == []
        other.save([of(events[1], b"other")], verified=False)
    assert mine.at("anna", 2) == StoredSnapshot(2, 2, b"mine", True)


def test_a_snapshot_of_another_interval_decides_no_range_of_this_one(postgres: PostgresWorld) -> None:
    """It covers the versions since the last one of *its* interval: with a wider one, late events would be skipped."""
    events = recorded(postgres, "anna", 1, 2, 3, 4)
    PostgresStateSnapshots(postgres.reader, SPEED, 2).save([of(events[1]), of(events[3])], verified=False)
    wider = PostgresStateSnapshots(postgres.reader, SPEED, 4)
    assert wider.decided("anna", END, FAR) == []
    # The state itself is valid for any interval.
    assert wider.latest("anna", END) == StoredSnapshot(4, 4, b"state", False)
    wider.save([of(events[3])], verified=True)
    assert wider.decided("anna", END, FAR) == [EventRange(0, 4, 4, True)]


def test_concurrent_saves_do_not_deadlock(postgres: PostgresWorld) -> None:
    """A replay saves snapshots that a worker is about to save too: the same ones, in any order."""
    keys = [f"rider-{number}" for number in range(100)]
    # In one partition: a save queries every partition.
    EventRecorder(postgres.writer).insert_events([postgres.event(Given(key, T0)) for _ in range(5) for key in keys])
    events = {key: postgres.archive.key_range("Rider", key, 0, END, None) for key in keys}
    failures: list[Exception] = []

    def keeping(order: list[str]) -> None:
        try:
            postgres.checkpoints(5).save([of(events[key][4]) for key in order], verified=True)
        except Exception as error:  # noqa: BLE001 (reported by the test)
            failures.append(error)

    threads = [threading.Thread(target=keeping, args=[order]) for order in (keys, keys[::-1])]
    with postgres.writer.begin() as connection:
        connection.execute(text("ANALYZE events"))
    with postgres.writer.connect() as holder, holder.begin() as held:
        # Halfway of both ways: where they stop, each has what the other one would come to next.
        one = events[keys[50]][4]
        values = {"digest": fold_digest(SPEED), "aggregate": aggregate_id("Rider", one.key), "position": one.position}
        holder.execute(_HELD, values)
        for thread in threads:
            thread.start()
        postgres.until_waiting(2)
        held.rollback()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_a_discard_deletes_the_snapshots_of_any_fold_that_include_the_event(postgres: PostgresWorld) -> None:
    anna, ben = (recorded(postgres, key, 1, 2, 3) for key in ("anna", "ben"))
    own, other_fold, other_model = (
        PostgresStateSnapshots(postgres.reader, projection, 1) for projection in (SPEED, OTHER_FOLD, LOCATIONS)
    )
    for kept in (own, other_fold, other_model):
        kept.save([of(event) for event in anna + ben], verified=True)
    forget_from(postgres.reader, SPEED, "anna", anna[1].position)
    for kept in (own, other_fold):
        assert versions(kept, "anna") == [1]
        assert versions(kept, "ben") == [1, 2, 3]
    assert versions(other_model, "anna") == [1, 2, 3]


def test_the_snapshots_of_a_fold_are_deleted_with_its_last_generation(postgres: PostgresWorld) -> None:
    [event] = recorded(postgres, "anna", 1)
    generations = PostgresGenerations(postgres.reader)
    generations.first(SPEED)
    generations.first(LOCATIONS)
    rebuilt = [generations.begin(OTHER_FOLD), generations.begin(OTHER_FOLD)]
    kept = [PostgresStateSnapshots(postgres.reader, projection, 1) for projection in (SPEED, OTHER_FOLD, LOCATIONS)]
    for one in kept:
        one.save([of(event)], verified=True)

    def left() -> list[bool]:
        return [one.at("anna", event.position) is not None for one in kept]

    generations.record(rebuilt[0], "dropped", None)
    assert left() == [True, True, True]
    generations.record(rebuilt[1], "following", None)
    assert left() == [True, True, True]
    generations.record(rebuilt[1], "dropped", None)
    assert left() == [True, False, True]


def test_an_unavailable_server_is_a_port_error() -> None:
    engine = reader_engine("postgresql://nobody@127.0.0.1:1/nothing")
    kept = PostgresStateSnapshots(engine, SPEED)
    for act in (
        lambda: kept.save([StateSnapshot("anna", 1, 1, b"", b"")], verified=False),
        lambda: kept.latest("anna", 1),
        lambda: kept.at("anna", 1),
        lambda: kept.decided("anna", 1, 1),
        lambda: forget_from(engine, SPEED, "anna", 1),
    ):
        with pytest.raises(PortUnavailable):
            act()
    engine.dispose()


def test_a_refold_starts_at_the_last_verified_one_of_each_key_of_the_shard(world: World) -> None:
    shard = shard_of("anna")
    other = next(key for n in range(10_000) if shard_of(key := f"key-{n}") == shard)
    elsewhere = next(key for n in range(10_000) if shard_of(key := f"key-{n}") != shard)
    events = recorded(world, "anna", 1, 2, 3, 4, 5, 6)
    others, far = recorded(world, other, 1, 2), recorded(world, elsewhere, 1, 2)
    kept = world.checkpoints(2)
    assert kept.starts(shard) == []
    kept.save([of(events[1], b"2"), of(events[3], b"4"), of(others[1], b"o"), of(far[1], b"f")], verified=True)
    kept.save([of(events[5], b"6")], verified=False)
    assert kept.starts(shard) == [ReplayStart("anna", 4, 4, 4, b"4"), ReplayStart(other, 8, 2, 8, b"o")]
