"""A training set of rules: each row is the replay as of its instant, and the bytes depend on nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from domain.identifiers import shard_of
from infrastructure.backends import Backends, open_backends
from infrastructure.embedded.postgres import Postgres
from infrastructure.errors import UserError
from infrastructure.operations.explain_eta_row import explain_row, find_row
from infrastructure.operations.training_set import make_eta_set
from infrastructure.operations.training_set_request import resolve
from infrastructure.postgres.discards import Discard, record_discard
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.eta_rows import COLUMNS
from infrastructure.training_sets.eta_set import EtaRule, EtaSet
from infrastructure.training_sets.instants_file import file_sha256
from infrastructure.training_sets.log_clock import LogClock, write_log_clock
from projections.replay.as_of import AsOf, Axis, Horizon
from tests.support.servers.servers import fresh_database
from tests.support.worlds.eta_log import Reference, Row, check_reading, horizons, items_of, make, record, rows_of
from tests.unit.simulator.scenarios import busy

ITEMS = items_of(busy(3, duration_s=2_400.0, until_s=1_500.0))
HALF = len(ITEMS) // 2
EVENTS = EtaRule("at_events", events=["placed", "assigned", "picked_up", "arrived"])
EVERY = EtaRule("every", every_ms=240_000)
FEATURES = COLUMNS[: COLUMNS.index("served_p50_s")]
"""All columns that must not know what comes later."""


@pytest.fixture(scope="module")
def log(migrated_postgres: Postgres) -> Iterator[Settings]:
    """A log with events that no fold can read, one of a rider and one of an order, and with a discarded ping."""
    with fresh_database(migrated_postgres) as url:
        settings = Settings(postgres_url=url)
        record(settings, ITEMS)
        with open_backends(settings) as backends:
            pings, orders = (
                backends.log.read_positions(stream, range(64), 0, 1 << 40) for stream in ("Rider", "Delivery")
            )
            broken = [pings[len(pings) // 3].position, orders[-9].position]
            with backends.writer_engine.begin() as connection:
                connection.execute(
                    text("UPDATE events SET payload = '' WHERE position = ANY(:broken)"), {"broken": broken}
                )
            for name in ("speed", "traffic"):
                record_discard(
                    backends.writer_engine, Discard(name, pings[len(pings) // 2].position, "a rider", "ann", "a test")
                )
        yield settings


@pytest.mark.parametrize(
    ("axis", "rule"), [("known", EVERY), ("position", EVENTS), ("event", EVERY), ("event", EVENTS)]
)
def test_each_row_is_the_replay_as_of_its_instant(log: Settings, tmp_path: Path, axis: Axis, rule: EtaRule) -> None:
    made = make(log, tmp_path / "set", rule, axis).manifest
    rows = rows_of(tmp_path / "set")
    assert len(rows) == made.rows > 20
    assert {row["outcome"] for row in rows} >= {"completed", "cancelled"}
    assert any(row["traffic_index"] is not None and row["rider_speed_mps"] is not None for row in rows)
    with open_backends(log) as backends:
        reference = Reference(backends)
        for row, horizon in list(horizons(log, rows, axis))[:: len(rows) // 6]:
            check_reading(row, reference.reading(row["order_id"], horizon))


@pytest.mark.parametrize("axis", ["known", "event"])
def test_an_event_at_the_very_instant_counts(log: Settings, tmp_path: Path, axis: Axis) -> None:
    make(log, tmp_path / "set", EVENTS, axis)
    under_way = [row for row in rows_of(tmp_path / "set") if row["leg"] == "to_customer" and not row["censored"]]
    with open_backends(log) as backends:
        reference, found = Reference(backends), list[tuple[str, int]]()
        for row, horizon in horizons(log, under_way, axis):
            rider_id = reference.rider_of(row["order_id"], horizon)
            walk = backends.archive.walk("Rider", [rider_id], shard_of(rider_id), 1 << 40, by_event_time=False)
            times = [one.recorded_ms if axis == "known" else one.event_ms for one in walk]
            until_ms = row["label_known_ms" if axis == "known" else "label_event_ms"]
            found += [(row["order_id"], at_ms) for at_ms in times if row["at_ms"] < at_ms < until_ms][:1]
        path = tmp_path / "instants.csv"
        path.write_text("order_id,time\n" + "".join(f"{order},{at_ms}\n" for order, at_ms in found[:3]))
        rule = EtaRule("instants", instants_sha256=file_sha256(path))
        make(log, tmp_path / "named", rule, axis, instants=path)
        rows = rows_of(tmp_path / "named")
        assert len(rows) == 3
        differing = 0
        for row, horizon in horizons(log, rows, axis):
            check_reading(row, reference.reading(row["order_id"], horizon))
            a_ms_before = resolve_known(backends, row["at_ms"] - 1) if axis == "known" else before(horizon)
            differing += reference.reading(row["order_id"], a_ms_before._replace(at_ms=row["at_ms"])) != (
                reference.reading(row["order_id"], horizon)
            )
        assert differing > 0, "the event at the instant changes the reading"


def resolve_known(backends: Backends, at_ms: int) -> Horizon:
    return backends.archive.horizon(AsOf.known(at_ms))


def before(horizon: Horizon) -> Horizon:
    assert horizon.happened_by_ms is not None
    return horizon._replace(happened_by_ms=horizon.happened_by_ms - 1)


def test_the_clock_of_the_log_is_what_the_log_resolves_whatever_the_pages(log: Settings, tmp_path: Path) -> None:
    with open_backends(log) as backends:
        head = backends.log.head("Rider").position
        for pages in (3, 200_000):
            write_log_clock(backends.engine, head - 5, tmp_path / f"{pages}.bin", pages)
        assert (tmp_path / "3.bin").read_bytes() == (tmp_path / "200000.bin").read_bytes()
        clock = LogClock(tmp_path / "3.bin")
        for position in (1, 2, head // 2, head - 5):
            at_ms = backends.archive.horizon(AsOf.at_position(position)).at_ms
            assert clock.recorded_ms(position) == at_ms
            for instant in (at_ms - 1, at_ms):
                known = backends.archive.horizon(AsOf.known(instant)).position
                assert clock.position_by(instant) == min(known, head - 5)
        assert [clock.recorded_ms(position) for position in (0, head - 4)] == [None, None]
        assert clock.position_by(0) == 0


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Aborted(Exception):
    """Raised by a test to abort the command in the middle."""


def test_the_bytes_are_the_same_with_two_workers_and_after_an_abort(log: Settings, tmp_path: Path) -> None:
    request = resolve(log, EVERY, "known", None)

    def made(name: str, workers: int, stop_at: str = "") -> dict[str, bytes]:
        def show(stage: str, what: str, done: int, total: int) -> None:
            if stage == stop_at and done:
                raise Aborted

        # A single worker is this process; two are processes of their own.
        make_eta_set(log, request, tmp_path / name, workers, show, min_events=0 if workers > 1 else 1 << 40)
        return contents(tmp_path / name)

    once = made("once", 1)
    with pytest.raises(Aborted):
        made("twice", 1, stop_at="riders")
    assert not (tmp_path / "twice").exists()
    assert made("twice", 2) == once


def of(rows: list[Row], until_ms: int) -> list[list[object]]:
    return [[row[name] for name in FEATURES] for row in rows if row["at_ms"] < until_ms]


@pytest.mark.parametrize("axis", ["known", "position"])
def test_a_log_that_has_grown_gives_the_same_bytes_and_no_later_event_changes_a_row(
    postgres_url: str, tmp_path: Path, axis: Axis
) -> None:
    settings = Settings(postgres_url=postgres_url)
    position = record(settings, ITEMS[:HALF])
    before = make(settings, tmp_path / "before", EVERY, axis).manifest
    record(settings, ITEMS[HALF:])
    again = make(settings, tmp_path / "again", EVERY, axis, position).manifest
    assert (again, contents(tmp_path / "again")) == (before, contents(tmp_path / "before"))
    make(settings, tmp_path / "grown", EVERY, axis)
    rows, grown = rows_of(tmp_path / "before"), rows_of(tmp_path / "grown")
    until_ms = max(row["at_ms"] for row in rows)
    assert len(of(rows, until_ms)) > 10
    assert of(rows, until_ms) == of(grown, until_ms)
    # What then happened is known now: that is all that is new.
    assert sum(row["censored"] for row in rows) > sum(row["censored"] for row in grown if row["at_ms"] < until_ms)


def test_instants_come_from_a_file_and_those_without_an_eta_are_counted(log: Settings, tmp_path: Path) -> None:
    make(log, tmp_path / "set", EVENTS, "known")
    rows = [row for row in rows_of(tmp_path / "set") if row["outcome"] == "completed"]
    [first, second], over = rows[:2], rows[0]["label_known_ms"]
    lines = [(one["order_id"], one["at_ms"]) for one in (second, first, first)]
    lines += [(first["order_id"], over), (first["order_id"], 1), ("nobody", 1), (first["order_id"], 1 << 41)]
    path = tmp_path / "instants.csv"
    path.write_text("order_id,time\n" + "".join(f"{order},{at}\n" for order, at in lines))
    rule = EtaRule("instants", instants_sha256=file_sha256(path))
    made = make(log, tmp_path / "named", rule, "known", instants=path).manifest
    assert rows_of(tmp_path / "named") == sorted([first, second], key=lambda row: (row["order_id"], row["at_ms"]))[:2]
    assert made.skipped == {"late": 1, "over": 1, "unknown": 2}
    path.write_text("order_id,position\n" + f"{first['order_id']},{first['position']}\n")
    rule = EtaRule("instants", instants_sha256=file_sha256(path))
    make(log, tmp_path / "placed", rule, "position", instants=path)
    [row] = rows_of(tmp_path / "placed")
    assert [row[name] for name in FEATURES] == [first[name] for name in FEATURES]
    path.write_text("order_id,position\nanother,1\n")
    with pytest.raises(UserError, match="not the file that the set was made from"):
        make(log, tmp_path / "changed", rule, "position", instants=path)


@pytest.mark.parametrize("axis", ["known", "event"])
def test_an_explanation_finds_every_value_again(log: Settings, tmp_path: Path, axis: Axis) -> None:
    make(log, tmp_path / "set", EVENTS, axis)
    eta_set = EtaSet(tmp_path / "set")
    row = next(row for row in eta_set.rows() if row["leg"] == "to_customer" and row["outcome"] == "completed")
    found_row = find_row(eta_set, f"{row['order_id']}:{row['at_ms']}")
    with open_backends(log) as backends:
        found = explain_row(backends, eta_set.manifest, found_row)
        other = explain_row(backends, eta_set.manifest, {**found_row, "rider_speed_mps": 77.0})
    assert (found["equal"], found["different"]) == (True, [])
    assert (other["equal"], other["different"]) == (False, ["rider_speed_mps"])
    assert found["rider"]["pings"]
    assert found["rider"]["position"] <= found_row["position"] < found["label"]["position"] or axis == "event"
    assert any(name.startswith("pace of cell ") for name in found["city"]["asked"])
    assert found["order"]["events"][0]["type"] == "DeliveryPlaced"
    json.dumps(found)
    with pytest.raises(UserError, match="no row 1000000"):
        find_row(eta_set, "1000000")
