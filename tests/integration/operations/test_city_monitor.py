"""The audit of city snapshots on real servers, next to the process and on command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text, update

from domain.events.contracts import UndecodableError
from domain.features.calibration.fold import PARTIAL_SLOTS, field_of
from domain.features.calibration.online import HOUR_MS
from domain.identifiers import SHARDS, shard_of
from infrastructure.observability.stage_reports import forget_host, newest, read_stages
from infrastructure.operations.city_monitor import CityMonitor
from infrastructure.operations.verify_city import (
    CityVerifier,
    advice,
    document,
    lines,
    recorded_findings,
    verify_city,
)
from infrastructure.postgres.audit_dumps import PostgresAuditDumps
from infrastructure.postgres.audit_tables import city_snapshots
from infrastructure.postgres.city_snapshots import PostgresCitySnapshots, StoredCity
from infrastructure.redis.connection import connect_server
from infrastructure.settings.settings import Settings
from infrastructure.status.collect import collect
from projections.calibration import CALIBRATION
from projections.core.parked_keys import ParkedKeys
from projections.orders import ORDERS
from projections.parity.audit_limits import FoldBudget
from projections.parity.city_audit import CheckedCity, CityVerdict
from projections.parity.city_findings import CITY_AUDIT_STAGE, CityFindings, findings_of
from projections.rebuild.catch_up import CatchUp
from projections.replay.city import CITY_PROJECTIONS
from projections.traffic import TRAFFIC
from read_models.redis_keys import slot_key
from tests.support.waiting import eventually
from tests.support.worlds.city_on_servers import CityOnServers, city_on_servers
from tests.support.worlds.rider_events import START_MS

RIDERS = [f"rider-{number}" for number in range(8)]


@pytest.fixture
def city(settings: Settings) -> Iterator[CityOnServers]:
    with city_on_servers(settings) as one:
        yield one


@pytest.fixture
def monitor(settings: Settings) -> Iterator[CityMonitor]:
    one = CityMonitor(settings, interval_s=0.05)
    yield one
    one.stop()


def make(city: CityOnServers, riders: list[str], orders: list[str]) -> None:
    city.ride(riders)
    city.deliver(orders)
    city.fold(TRAFFIC)
    city.fold(ORDERS)
    city.fold(CALIBRATION)
    city.maker.make()


def audited(monitor: CityMonitor, count: int = 1) -> list[tuple[int, CityVerdict]]:
    """Numbers and verdicts of the next ``count`` snapshots, in as many rounds as a busy machine needs for them."""
    checked: list[CheckedCity] = []

    def found() -> bool:
        checked.extend(monitor.run_round())
        return len(checked) >= count

    eventually(found, within_s=60, what=f"{count} snapshots are audited")
    return [(one.city.number, one.verdict) for one in checked]


def reported(city: CityOnServers) -> CityFindings:
    return findings_of(newest(read_stages(city.backends.engine))[CITY_AUDIT_STAGE].progress.detail)


def wait_reported(city: CityOnServers, monitor: CityMonitor, number: int) -> None:
    """Wait until the findings up to snapshot ``number`` are reported: on a busy machine, by a later round."""
    eventually(lambda: monitor.run_round() == [] and reported(city).number == number, what="the findings are reported")


def test_each_snapshot_is_checked_once_also_by_the_next_process(
    city: CityOnServers, monitor: CityMonitor, settings: Settings
) -> None:
    assert monitor.run_round() == []
    make(city, RIDERS[:4], ["one"])
    make(city, RIDERS[4:], ["two", "three"])
    assert audited(monitor, 2) == [(1, CityVerdict.EQUAL), (2, CityVerdict.EQUAL)]
    assert monitor.run_round() == []
    wait_reported(city, monitor, 2)
    city.maker.make()
    following = CityMonitor(settings)
    assert audited(following) == [(3, CityVerdict.EQUAL)]
    following.stop()


def test_a_wrong_snapshot_is_red_in_status_until_the_generation_is_another(
    city: CityOnServers, monitor: CityMonitor
) -> None:
    make(city, RIDERS, ["one"])
    with city.backends.engine.begin() as connection:
        # One shard ahead of its vector: the record names one event less than was merged.
        connection.execute(
            text(
                "UPDATE city_snapshots SET fences = jsonb_set(fences, ARRAY['traffic', :shard], to_jsonb("
                " (fences->'traffic'->>(CAST(:shard AS int)))::int - 1))"
            ),
            {"shard": str(next(n for n, seq in enumerate(record_of(city, 1).vectors["traffic"].seqs) if seq))},
        )
    assert audited(monitor) == [(1, CityVerdict.DIFFERENT)]
    wait_reported(city, monitor, 1)
    line = next(one for one in collect(city.backends.settings).stages if one.stage == "city audit")
    assert (line.state, line.good) == ("1 checked, 1 different, 0 to go", False)
    found = verify_city(city.backends, 0, lambda findings, events: None)
    assert advice(found.findings).startswith(
        "1 city snapshots disagree with the log: run `rebuild-projection` for traffic"
    )
    assert document(found.findings, found.events, 1.0)["verdicts"] == {
        "equal": 0,
        "different": 1,
        "other_code": 0,
        "log_restored": 0,
        "detached": 0,
        "undecided": 0,
    }


def folded_events(city: CityOnServers) -> int:
    """The events that all projections of the city fold: each has those of its stream."""
    return sum(sum(city.backends.log.head(projection.stream).seqs) for projection in CITY_PROJECTIONS)


def _fences(city: CityOnServers, number: int, projection: str) -> int:
    """How many events of a projection a snapshot has."""
    return sum(record_of(city, number).vectors[projection].seqs)


def test_a_count_of_scores_that_is_wrong_in_one_shard_is_different(
    city: CityOnServers, monitor: CityMonitor, redis_url: str
) -> None:
    city.deliver(["one", "two"])
    city.answer(["one", "two"])
    make(city, RIDERS[:2], [])
    hour = (START_MS + 480_000) // HOUR_MS
    key = slot_key(CALIBRATION.name, 1, shard_of("one"), hour % PARTIAL_SLOTS)
    field = field_of("unassigned", "")
    with connect_server(redis_url) as redis:
        stored = redis.hget(key, field)
        assert isinstance(stored, bytes)
        counts = [int(count) for count in stored.split()]
        assert sum(counts) >= 1
        at = next(number for number, count in enumerate(counts) if count)
        counts[at], counts[at + 1] = counts[at] - 1, counts[at + 1] + 1
        redis.hset(key, field, " ".join(map(str, counts)))
    # The whole tables are read again, as after a restart of the city process.
    city.new_maker().make()
    assert audited(monitor, 2) == [(1, CityVerdict.EQUAL), (2, CityVerdict.DIFFERENT)]


def test_on_command_all_snapshots_are_checked(city: CityOnServers) -> None:
    make(city, RIDERS[:4], ["one"])
    make(city, RIDERS[4:], ["two", "three"])
    progress: list[int] = []
    found = verify_city(city.backends, 0, lambda findings, events: progress.append(events))
    assert found.findings.totals == {CityVerdict.EQUAL: 2}
    assert progress[-1] == found.events == folded_events(city)
    assert lines(found.findings, found.events, 1.0)[0].startswith("2 city snapshots: 2 equal; ")
    assert advice(found.findings) == ""


def test_a_snapshot_of_another_fold_is_of_other_code(city: CityOnServers, monitor: CityMonitor) -> None:
    make(city, RIDERS, ["one"])
    with city.backends.engine.begin() as connection:
        connection.execute(text("UPDATE projection_generations SET fold_digest = 'other' WHERE projection = 'orders'"))
    assert audited(monitor) == [(1, CityVerdict.OTHER_CODE)]


@pytest.mark.parametrize("merged_by", ["'other'", "NULL"])
def test_regression_a_snapshot_of_another_merge_is_of_other_code(
    city: CityOnServers, monitor: CityMonitor, merged_by: str
) -> None:
    """A changed merge was reported as a difference: nothing on record said which code had merged a snapshot."""
    make(city, RIDERS, ["one"])
    with city.backends.engine.begin() as connection:
        connection.execute(text(f"UPDATE city_snapshots SET digest = 'of before', code_digest = {merged_by}"))
    assert audited(monitor) == [(1, CityVerdict.OTHER_CODE)]


def test_a_key_parked_by_live_folding_alone_is_no_difference_before_and_after_its_retry(
    city: CityOnServers, monitor: CityMonitor
) -> None:
    city.ride(RIDERS)
    city.deliver(["one", "two"])
    city.fold(TRAFFIC)
    backends = city.backends
    [event] = backends.archive.key_range("Delivery", "one", 1, 2, None)

    def decode(payload: bytes) -> Any:
        if payload == event.payload:
            raise UndecodableError("for a cause that passes")
        return backends.decode(payload)

    backends.generations.first(ORDERS)
    sink = backends.stores.sink(ORDERS, 1)
    CatchUp(ORDERS, backends.log, sink, decode, range(SHARDS)).run()
    city.fold(CALIBRATION)
    city.maker.make()
    assert record_of(city, 1).parked == {
        TRAFFIC.name: frozenset(),
        ORDERS.name: frozenset({event.position}),
        CALIBRATION.name: frozenset(),
    }
    assert audited(monitor) == [(1, CityVerdict.EQUAL)]
    retry = ParkedKeys(ORDERS, sink, backends.log, backends.decode, lambda: 0).retry("one")
    assert (retry.verdict, retry.events) == ("unparked", 3)
    city.maker.make()
    assert record_of(city, 2).parked == dict.fromkeys((TRAFFIC.name, ORDERS.name, CALIBRATION.name), frozenset())
    assert audited(monitor) == [(2, CityVerdict.EQUAL)]
    digests = {record_of(city, number).digest for number in (1, 2)}
    assert len(digests) == 2


def test_after_a_restore_the_numbers_begin_again(city: CityOnServers, monitor: CityMonitor) -> None:
    make(city, RIDERS, ["one"])
    with city.backends.engine.begin() as connection:
        connection.execute(update(city_snapshots).values(number=900))
    assert audited(monitor) == [(900, CityVerdict.EQUAL)]
    with city.backends.engine.begin() as connection:
        connection.execute(update(city_snapshots).values(number=7))
    assert audited(monitor) == [(7, CityVerdict.EQUAL)]


def test_regression_findings_outlive_serve(city: CityOnServers, monitor: CityMonitor, settings: Settings) -> None:
    """They were reports of a stage, which the next `serve` deletes: a difference that was found was green again."""
    make(city, RIDERS[:4], ["one"])
    assert audited(monitor) == [(1, CityVerdict.EQUAL)]
    city.maker.make()
    with city.backends.engine.begin() as connection:
        connection.execute(text("UPDATE city_snapshots SET digest = 'wrong' WHERE number = 2"))
    assert audited(monitor) == [(2, CityVerdict.DIFFERENT)]
    # As a `serve` does when it starts.
    forget_host(city.backends.engine)
    line = next(one for one in collect(city.backends.settings).stages if one.stage == "city audit")
    assert (line.state, line.good) == ("2 checked, 1 different, 0 to go", False)
    following = CityMonitor(settings)
    assert following.run_round() == []
    assert (reported(city).totals, reported(city).different) == ({"equal": 1, "different": 1}, 1)
    following.stop()
    # Other code, or another generation, makes other snapshots.
    with city.backends.engine.begin() as connection:
        connection.execute(text("UPDATE city_snapshots SET code_digest = 'other' WHERE number = 2"))
    assert recorded_findings(city.backends).different == 0


def test_the_next_process_starts_at_the_dump_of_the_tables(city: CityOnServers, monitor: CityMonitor) -> None:
    make(city, RIDERS[:6], ["one"])
    audited(monitor)
    make(city, RIDERS[6:], ["two"])
    # The last dump is young, so that this round stores no other one.
    audited(monitor)
    verifier = CityVerifier(city.backends)
    verifier.check(record_of(city, 2), FoldBudget())
    before = sum(_fences(city, 1, projection) for projection in ("traffic", "orders", "calibration"))
    assert verifier.events == folded_events(city) - before
    # A damaged dump is not used: the whole log is folded.
    with city.backends.engine.begin() as connection:
        connection.execute(text("UPDATE audit_dumps SET content = set_byte(content, 0, 7) WHERE shard = 5"))
    again = CityVerifier(city.backends)
    checked = again.check(record_of(city, 2), FoldBudget())
    assert checked is not None
    assert (checked.verdict, again.events) == (CityVerdict.EQUAL, folded_events(city))


def test_dumps_are_kept_to_the_two_newest_and_an_incomplete_one_counts_as_such(city: CityOnServers) -> None:
    make(city, RIDERS[:4], ["one"])
    verifier = CityVerifier(city.backends)
    verifier.step(FoldBudget())
    assert verifier.store_dumps_if_due()
    assert not verifier.store_dumps_if_due()
    assert [verifier.store_dumps_if_due(0.0) for _ in range(3)] == [True] * 3
    dumps = PostgresAuditDumps(city.backends.engine)
    assert [record.number for record in dumps.records("traffic")] == [4, 3]
    assert sum(dumps.records("traffic")[0].seqs) == _fences(city, 1, "traffic")
    with city.backends.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_dumps WHERE number = 4 AND shard = 9"))
        connection.execute(text("DELETE FROM audit_dumps WHERE number = 3 AND shard = -1"))
    assert [len(record.seqs) for record in dumps.records("traffic")] == [9, 0]


def record_of(city: CityOnServers, number: int) -> StoredCity:
    found = PostgresCitySnapshots(city.backends.engine, 100).record(number)
    assert found is not None
    return found


def test_a_backlog_is_thinned_out(city: CityOnServers, monitor: CityMonitor) -> None:
    make(city, RIDERS, ["one"])
    for _ in range(70):
        city.maker.make()
    monitor.start()
    eventually(lambda: CITY_AUDIT_STAGE in newest(read_stages(city.backends.engine)), what="the audit reports")
    eventually(lambda: reported(city).number == 71, what="the newest snapshot is checked")
    found = reported(city)
    assert found.totals == {"equal": found.checked}
    assert 30 <= found.checked < 70
