"""State snapshots in Postgres: several folds share the table, and several workers save at the same time."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text

from domain.identifiers import aggregate_id
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.postgres.snapshots import PostgresStateSnapshots, forget_from
from projections.core.ports import PortUnavailable
from projections.core.snapshots import EventRange, StateSnapshot, StoredSnapshot
from projections.digest.digest import fold_digest
from projections.locations import LOCATIONS
from projections.speed import SPEED
from tests.support.worlds.archive_worlds import T0, Given, PostgresWorld
from tests.support.worlds.log_snapshots import END, FAR, OTHER_FOLD, of, recorded, versions

_HELD = text("INSERT INTO checkpoints VALUES ('speed', :digest, :aggregate, :position, 5, 5, now(), now(), '', false)")


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
            postgres.snapshots(5).save([of(events[key][4]) for key in order], verified=True)
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
