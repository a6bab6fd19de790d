"""Served reads in Postgres: put on record with their generation's own digest, sorted, judged, kept to the newest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.postgres.served_reads import PostgresServedReads, add, known, trim
from projections.digest.digest import fold_digest
from projections.parity.served_reads import ReadTally, ReadVerdict, ServedRead, WrongSnapshot
from projections.speed import SPEED
from read_models.view import ViewLimits
from tests.support.postgres.log_events import events_of


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = reader_engine(postgres_url)
    PostgresGenerations(engine).first(SPEED)
    yield engine
    engine.dispose()


def read(key: str, version: int, generation: int = 1) -> ServedRead:
    return ServedRead(
        key, generation, version, 10 + version, 1_000 * version, ViewLimits(1, 2), True, b'{"a":"\\u00e9"}'
    )


def test_a_read_is_given_back_as_it_was_with_the_digest_of_its_own_generation(engine: Engine) -> None:
    one = read("anna", 1)
    assert add(engine, "speed", "the view", [one, read("anna", 2, generation=9)]) == 1
    [found] = PostgresServedReads(engine, "speed").scan(0)
    assert (found.fold_digest, found.view_digest, found.verdict) == (fold_digest(SPEED), "the view", None)
    assert found.read == one


def test_a_scan_is_by_code_point_and_version_and_parts_share_no_key(engine: Engine) -> None:
    keys = ["b", "B", "é", "a", "\U0001f600", "aa"]
    add(engine, "speed", "v", [read(key, version) for version in (3, 1, 2) for key in keys])
    reads = PostgresServedReads(engine, "speed")
    found = [(one.read.key, one.read.version) for one in reads.scan(0)]
    assert found == sorted((key, version) for key in keys for version in (1, 2, 3))
    assert (reads.count(0), reads.count(2_000)) == (18, 12)
    parts = [list(PostgresServedReads(engine, "speed", part, 3).scan(0)) for part in range(3)]
    assert sorted(one.id for part in parts for one in part) == sorted(one.id for one in reads.scan(0))
    assert all({a.read.key for a in parts[i]}.isdisjoint(b.read.key for b in parts[i - 1]) for i in range(3))


def test_verdicts_are_put_on_record_and_other_code_never_takes_the_place_of_one_that_knew(engine: Engine) -> None:
    add(engine, "speed", "v", [read("anna", version) for version in range(1, 5)])
    reads = PostgresServedReads(engine, "speed")
    ids = [one.id for one in reads.scan(0)]
    reads.record({ReadVerdict.EQUAL: ids[:1], ReadVerdict.DIFFERENT: ids[1:2], ReadVerdict.OTHER_CODE: ids[2:3]})
    reads.record({ReadVerdict.OTHER_CODE: ids})
    assert [one.verdict for one in reads.scan(0)] == ["equal", "different", "other code", "other code"]
    reads.record({ReadVerdict.EQUAL: ids[2:]})
    assert [one.verdict for one in reads.scan(0)] == ["equal", "different", "equal", "equal"]
    assert reads.tally() == ReadTally(checked=4, unchecked=0, mismatches=1, generation=1)


def test_unchecked_ones_are_half_of_the_oldest_and_half_of_the_newest(engine: Engine) -> None:
    add(engine, "speed", "v", [read("anna", version) for version in range(1, 11)])
    reads = PostgresServedReads(engine, "speed")
    assert [one.read.version for one in reads.unchecked(5)] == [1, 2, 3, 9, 10]
    reads.record({ReadVerdict.EQUAL: [one.id for one in reads.unchecked(8)]})
    assert [one.read.version for one in reads.unchecked(8)] == [5, 6]


def test_a_wrong_checkpoint_stays_on_record_once_and_counts_for_what_is_served_of_that_fold(engine: Engine) -> None:
    reads, generations = PostgresServedReads(engine, "speed"), PostgresGenerations(engine)
    for folded in (b"new", b"newer"):
        reads.record_wrong(WrongSnapshot("anna", 1, 500, 510, b"old", folded))
    assert reads.mismatches() == (1, 1)
    [first], second = generations.all("speed"), generations.begin(SPEED)
    with generations.switching(first, second):
        pass
    assert reads.mismatches() == (2, 0)
    # Whichever process stored it, this fold made it.
    reads.record_wrong(WrongSnapshot("ben", 1, 500, 510, b"old", b"new"))
    # Of another fold: what is served has nothing to do with it.
    with engine.begin() as connection:
        connection.execute(text("UPDATE projection_generations SET fold_digest = 'another' WHERE generation = 1"))
    reads.record_wrong(WrongSnapshot("carl", 1, 500, 510, b"old", b"new"))
    assert reads.mismatches() == (2, 1)


def test_the_newest_are_kept_and_differences_twice_as_long(engine: Engine) -> None:
    add(engine, "speed", "v", [read("anna", version) for version in range(1, 11)])
    reads = PostgresServedReads(engine, "speed")
    reads.record({ReadVerdict.DIFFERENT: [one.id for one in reads.scan(0)][:5]})
    trim(engine, 3)
    assert [one.read.version for one in reads.scan(0)] == [5, 8, 9, 10]
    with engine.connect() as connection:
        # Of ten, those behind 2 x 3 are gone whatever their verdict.
        assert connection.execute(text("SELECT min(version) FROM served_reads")).scalar_one() == 5


def test_which_404s_are_of_a_key_that_the_log_has_by_then(engine: Engine, postgres_url: str) -> None:
    writer = writer_engine(postgres_url)
    recorder = EventRecorder(writer, partition_rows=4)
    for key, version in (("anna", 1), ("ben", 1), ("anna", 2), ("carl", 1), ("anna", 3)):
        recorder.insert_events(events_of(key, version, 1))
    writer.dispose()

    def missing(key: str, position: int) -> ServedRead:
        return ServedRead(key, 1, 0, position, 0, ViewLimits(1, 2), True, b"")

    reads = [missing("anna", 1), missing("zoe", 5), missing("ben", 1), missing("ben", 2), missing("carl", 9)]
    assert known(engine, "Rider", reads) == [reads[0], reads[3], reads[4]]
    assert known(engine, "Delivery", reads) == []
    assert known(engine, "Rider", []) == []
    assert add(engine, "speed", "v", known(engine, "Rider", reads)) == 3
    found = list(PostgresServedReads(engine, "speed").scan(0))
    assert [(one.read.key, one.read.is_missing, one.read.body) for one in found] == [
        ("anna", True, b""),
        ("ben", True, b""),
        ("carl", True, b""),
    ]
