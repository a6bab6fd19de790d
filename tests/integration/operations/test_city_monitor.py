"""The audit of city snapshots on real servers, next to the process and on command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text, update

from infrastructure.observability.stage_reports import newest, read_stages
from infrastructure.operations.city_monitor import CityMonitor
from infrastructure.operations.verify_city import advice, document, lines, verify_city
from infrastructure.postgres.audit_tables import city_snapshots
from infrastructure.settings.settings import Settings
from infrastructure.status.collect import collect
from projections.orders import ORDERS
from projections.parity.city_audit import CheckedCity, CityVerdict
from projections.parity.city_findings import CITY_AUDIT_STAGE, CityFindings, findings_of
from projections.traffic import TRAFFIC
from tests.support.waiting import eventually
from tests.support.worlds.city_on_servers import CityOnServers, city_on_servers

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
    city.maker.make()


def verdicts(checked: list[CheckedCity]) -> list[tuple[int, CityVerdict]]:
    return [(one.city.number, one.verdict) for one in checked]


def reported(city: CityOnServers) -> CityFindings:
    return findings_of(newest(read_stages(city.backends.engine))[CITY_AUDIT_STAGE].progress.detail)


def test_each_snapshot_is_checked_once_also_by_the_next_process(
    city: CityOnServers, monitor: CityMonitor, settings: Settings
) -> None:
    assert monitor.run_round() == []
    make(city, RIDERS[:4], ["one"])
    make(city, RIDERS[4:], ["two", "three"])
    assert verdicts(monitor.run_round()) == [(1, CityVerdict.EQUAL), (2, CityVerdict.EQUAL)]
    assert monitor.run_round() == []
    eventually(lambda: monitor.run_round() == [] and reported(city).number == 2, what="the findings are reported")
    city.maker.make()
    following = CityMonitor(settings)
    assert verdicts(following.run_round()) == [(3, CityVerdict.EQUAL)]
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
            {"shard": str(next(n for n, seq in enumerate(_fences(city)) if seq))},
        )
    assert verdicts(monitor.run_round()) == [(1, CityVerdict.DIFFERENT)]
    line = next(one for one in collect(city.backends.settings).stages if one.stage == "city audit")
    assert (line.state, line.good) == ("1 checked, 1 different, 0 to go", False)
    found = verify_city(city.backends, 0, lambda findings, events: None)
    assert advice(found.findings).startswith("1 city snapshots disagree with the log: run `rebuild-projection traffic`")
    assert document(found.findings, found.events, 1.0)["verdicts"] == {
        "equal": 0,
        "different": 1,
        "other_code": 0,
        "log_restored": 0,
        "undecided": 0,
    }


def _fences(city: CityOnServers) -> list[int]:
    with city.backends.engine.connect() as connection:
        found = connection.execute(text("SELECT fences->'traffic' FROM city_snapshots")).scalar_one()
    assert isinstance(found, list)
    return found


def test_on_command_all_snapshots_are_checked(city: CityOnServers) -> None:
    make(city, RIDERS[:4], ["one"])
    make(city, RIDERS[4:], ["two", "three"])
    progress: list[int] = []
    found = verify_city(city.backends, 0, lambda findings, events: progress.append(events))
    assert found.findings.totals == {CityVerdict.EQUAL: 2}
    assert progress[-1] == found.events == city.backends.log.head("Rider").position
    assert lines(found.findings, found.events, 1.0)[0].startswith("2 city snapshots: 2 equal; ")
    assert advice(found.findings) == ""


def test_a_snapshot_of_another_fold_is_of_other_code(city: CityOnServers, monitor: CityMonitor) -> None:
    make(city, RIDERS, ["one"])
    with city.backends.engine.begin() as connection:
        connection.execute(text("UPDATE projection_generations SET fold_digest = 'other' WHERE projection = 'orders'"))
    assert verdicts(monitor.run_round()) == [(1, CityVerdict.OTHER_CODE)]


@pytest.mark.parametrize("merged_by", ["'other'", "NULL"])
def test_regression_a_snapshot_of_another_merge_is_of_other_code(
    city: CityOnServers, monitor: CityMonitor, merged_by: str
) -> None:
    """A changed merge was reported as a difference: nothing on record said which code had merged a snapshot."""
    make(city, RIDERS, ["one"])
    with city.backends.engine.begin() as connection:
        connection.execute(text(f"UPDATE city_snapshots SET digest = 'of before', code_digest = {merged_by}"))
    assert verdicts(monitor.run_round()) == [(1, CityVerdict.OTHER_CODE)]


def test_after_a_restore_the_numbers_begin_again(city: CityOnServers, monitor: CityMonitor) -> None:
    make(city, RIDERS, ["one"])
    with city.backends.engine.begin() as connection:
        connection.execute(update(city_snapshots).values(number=900))
    assert verdicts(monitor.run_round()) == [(900, CityVerdict.EQUAL)]
    with city.backends.engine.begin() as connection:
        connection.execute(update(city_snapshots).values(number=7))
    assert verdicts(monitor.run_round()) == [(7, CityVerdict.EQUAL)]


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
