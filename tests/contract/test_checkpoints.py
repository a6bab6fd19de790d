"""The Checkpoints port, on every adapter: in memory and in Postgres."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import text

from domain.identifiers import aggregate_id
from infrastructure.event_store.checkpoints import PostgresCheckpoints, forget_from
from infrastructure.event_store.engine import reader_engine
from infrastructure.event_store.generations import PostgresGenerations
from infrastructure.event_store.recorder import EventRecorder
from projections.checkpoints import Checkpoint, Kept, Mark
from projections.digest import fold_digest
from projections.locations import LOCATIONS
from projections.ports import LoggedEvent, PortUnavailable
from projections.speed import SPEED
from tests.support.archive_worlds import T0, Given, MemoryWorld, PostgresWorld, World, postgres_world

_HELD = text("INSERT INTO checkpoints VALUES ('speed', :digest, :aggregate, :position, 5, 5, now(), now(), '', false)")
OTHER_FOLD = replace(SPEED, fold_version=SPEED.fold_version + 1)
END = 1 << 62


@pytest.fixture(params=["memory", "postgres"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    with postgres_world(request.getfixturevalue("postgres_url")) as one:
        yield one


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[PostgresWorld]:
    with postgres_world(postgres_url) as one:
        yield one


def recorded(world: World, key: str, *event_ms: int) -> list[LoggedEvent]:
    world.record([Given(key, T0 + ms) for ms in event_ms], T0)
    return world.archive.key_range("Rider", key, 0, END, None)


def of(event: LoggedEvent, state: bytes = b"state") -> Checkpoint:
    return Checkpoint(event.key, event.version, event.position, state, event.payload)


def test_where_none_was_kept_there_is_none(world: World) -> None:
    recorded(world, "anna", 1, 2)
    kept = world.checkpoints(2)
    kept.keep([], verified=False)
    assert kept.latest("anna", END) is None
    assert kept.at("anna", 2) is None
    assert kept.marks("anna", END) == []


def test_the_latest_is_the_last_one_at_a_position(world: World) -> None:
    recorded(world, "ben", 1)
    events = recorded(world, "anna", 1, 2, 3, 4, 5)
    kept = world.checkpoints(2)
    states = {2: b"\x00two\xff", 4: b""}
    kept.keep([of(events[v - 1], states[v]) for v in states], verified=False)
    two, four = Kept(2, 3, states[2], False), Kept(4, 5, states[4], False)
    assert [kept.latest("anna", position) for position in range(8)] == [None, None, None, two, two, four, four, four]
    assert [kept.at("anna", version) for version in range(6)] == [None, None, two, None, four, None]
    assert kept.latest("ben", END) is None


def test_a_mark_has_the_event_times_of_the_versions_since_the_one_before(world: World) -> None:
    events = recorded(world, "anna", 50, 20, 40, 10, 60, 30, 5)
    kept = world.checkpoints(3)
    kept.keep([of(events[2]), of(events[5])], verified=False)
    three, six = Mark(3, T0 + 20, T0 + 50), Mark(6, T0 + 10, T0 + 60)
    assert kept.marks("anna", END) == kept.marks("anna", 6) == [three, six]
    assert kept.marks("anna", 5) == [three]
    assert kept.marks("anna", 2) == []


def test_a_mark_does_not_take_in_what_others_did(world: World) -> None:
    world.record([Given("ben", T0 - 99), Given("anna", T0), Given("ben", T0 + 99), Given("anna", T0 + 1)], T0)
    kept = world.checkpoints(2)
    kept.keep([of(world.archive.key_range("Rider", "anna", 1, 2, None)[0])], verified=True)
    assert kept.marks("anna", END) == [Mark(2, T0, T0 + 1)]


def test_what_this_log_does_not_hold_is_not_kept(world: World) -> None:
    """A worker may still fold what a restore has taken back: then the log says something else there, or nothing."""
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
        kept.keep([*wrong, of(four)], verified=verified)
        assert kept.marks("anna", END) == [Mark(4, T0 + 3, T0 + 4)]
        assert kept.marks("ben", END) == kept.marks("nobody", END) == []


def test_only_what_is_verified_replaces(world: World) -> None:
    events = recorded(world, "anna", 1, 2, 3, 4)
    kept = world.checkpoints(2)
    kept.keep([of(events[1], b"live")], verified=False)
    kept.keep([of(events[1], b"other")], verified=False)
    assert kept.at("anna", 2) == Kept(2, 2, b"live", False)
    kept.keep([of(events[1], b"folded")], verified=True)
    assert kept.at("anna", 2) == Kept(2, 2, b"folded", True)
    kept.keep([of(events[1], b"live"), of(events[3], b"live")], verified=False)
    assert kept.at("anna", 2) == Kept(2, 2, b"folded", True)
    kept.keep([of(events[1], b"again")], verified=True)
    assert kept.latest("anna", 3) == Kept(2, 2, b"again", True)
    # The later one is live folding's word alone.
    assert kept.latest("anna", END) == Kept(4, 4, b"live", False)
    assert kept.latest("anna", END, verified=True) == Kept(2, 2, b"again", True)


@pytest.mark.parametrize("verified", [False, True])
def test_the_same_one_twice_in_a_call_is_kept_once(world: World, verified: bool) -> None:
    events = recorded(world, "anna", 1, 2)
    kept = world.checkpoints(2)
    kept.keep([of(events[1]), of(events[1])], verified=verified)
    assert kept.latest("anna", END) == Kept(2, 2, b"state", verified)


def test_many_are_kept_at_once(world: World) -> None:
    keys = [f"rider-{number}" for number in range(200)]
    world.record([Given(key, T0) for key in keys], T0)
    kept = world.checkpoints(1)
    kept.keep([of(world.archive.key_range("Rider", key, 0, 1, None)[0], b"x" * 600) for key in keys], verified=False)
    assert all(kept.at(key, 1) is not None for key in keys)


# --- in Postgres, where several keep theirs


def test_folds_and_projections_have_each_their_own(postgres: PostgresWorld) -> None:
    events = recorded(postgres, "anna", 1, 2)
    mine, other_fold, other_model = (
        PostgresCheckpoints(postgres.reader, projection, 2) for projection in (SPEED, OTHER_FOLD, LOCATIONS)
    )
    mine.keep([of(events[1], b"mine")], verified=True)
    for other in (other_fold, other_model):
        assert other.latest("anna", END) is other.at("anna", 2) is None
        assert other.marks("anna", END) == []
        other.keep([of(events[1], b"other")], verified=False)
    assert mine.at("anna", 2) == Kept(2, 2, b"mine", True)


def test_a_mark_of_another_grid_is_none_of_this_one(postgres: PostgresWorld) -> None:
    """It speaks of the versions since *its* grid's last one: read on a wider grid, late events would be passed over."""
    events = recorded(postgres, "anna", 1, 2, 3, 4)
    PostgresCheckpoints(postgres.reader, SPEED, 2).keep([of(events[1]), of(events[3])], verified=False)
    wider = PostgresCheckpoints(postgres.reader, SPEED, 4)
    assert wider.marks("anna", END) == []
    # The state itself is as good on any grid.
    assert wider.latest("anna", END) == Kept(4, 4, b"state", False)
    wider.keep([of(events[3])], verified=True)
    assert wider.marks("anna", END) == [Mark(4, T0 + 1, T0 + 4)]


def test_keepers_that_meet_do_not_throw_each_other_out(postgres: PostgresWorld) -> None:
    """A replay heals what a worker is about to leave: both may come with the same ones, in any order."""
    keys = [f"rider-{number}" for number in range(100)]
    # In one partition: keeping looks into each.
    EventRecorder(postgres.writer).insert_events([postgres.event(Given(key, T0)) for _ in range(5) for key in keys])
    events = {key: postgres.archive.key_range("Rider", key, 0, END, None) for key in keys}
    failures: list[Exception] = []

    def keeping(order: list[str]) -> None:
        try:
            postgres.checkpoints(5).keep([of(events[key][4]) for key in order], verified=True)
        except Exception as error:  # noqa: BLE001 (told by the test)
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


def test_a_discarded_event_takes_away_what_has_folded_it_under_any_fold(postgres: PostgresWorld) -> None:
    anna, ben = (recorded(postgres, key, 1, 2, 3) for key in ("anna", "ben"))
    own, other_fold, other_model = (
        PostgresCheckpoints(postgres.reader, projection, 1) for projection in (SPEED, OTHER_FOLD, LOCATIONS)
    )
    for kept in (own, other_fold, other_model):
        kept.keep([of(event) for event in anna + ben], verified=True)
    forget_from(postgres.reader, SPEED, "anna", anna[1].position)
    for kept in (own, other_fold):
        assert [mark.version for mark in kept.marks("anna", END)] == [1]
        assert [mark.version for mark in kept.marks("ben", END)] == [1, 2, 3]
    assert [mark.version for mark in other_model.marks("anna", END)] == [1, 2, 3]


def test_those_of_a_fold_go_with_its_last_generation(postgres: PostgresWorld) -> None:
    [event] = recorded(postgres, "anna", 1)
    generations = PostgresGenerations(postgres.reader)
    generations.first(SPEED)
    generations.first(LOCATIONS)
    rebuilt = [generations.begin(OTHER_FOLD), generations.begin(OTHER_FOLD)]
    kept = [PostgresCheckpoints(postgres.reader, projection, 1) for projection in (SPEED, OTHER_FOLD, LOCATIONS)]
    for one in kept:
        one.keep([of(event)], verified=True)

    def left() -> list[bool]:
        return [one.at("anna", 1) is not None for one in kept]

    generations.record(rebuilt[0], "dropped", None)
    assert left() == [True, True, True]
    generations.record(rebuilt[1], "following", None)
    assert left() == [True, True, True]
    generations.record(rebuilt[1], "dropped", None)
    assert left() == [True, False, True]


def test_a_server_that_is_away_is_a_port_error() -> None:
    engine = reader_engine("postgresql://nobody@127.0.0.1:1/nothing")
    kept = PostgresCheckpoints(engine, SPEED)
    for act in (
        lambda: kept.keep([Checkpoint("anna", 1, 1, b"", b"")], verified=False),
        lambda: kept.latest("anna", 1),
        lambda: kept.at("anna", 1),
        lambda: kept.marks("anna", 1),
        lambda: forget_from(engine, SPEED, "anna", 1),
    ):
        with pytest.raises(PortUnavailable):
            act()
    engine.dispose()
