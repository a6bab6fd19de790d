"""The city process on real servers: one makes snapshots, another waits; it outlives its servers and waits for folds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM

import psutil
import pytest

from infrastructure.embedded.postgres import Postgres
from infrastructure.embedded.valkey import Valkey
from infrastructure.observability.stage_reports import newest, read_stages
from infrastructure.postgres.city_snapshots import PostgresCitySnapshots
from infrastructure.settings.settings import Settings
from projections.calibration import CALIBRATION
from projections.core.ports import PortUnavailable
from projections.orders import ORDERS
from projections.traffic import TRAFFIC
from tests.support.program_process import ProgramProcess
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually
from tests.support.worlds.city_on_servers import CityOnServers, city_on_servers


@pytest.fixture
def city(settings: Settings) -> Iterator[CityOnServers]:
    with city_on_servers(settings) as one:
        yield one


@pytest.fixture
def first(settings: Settings, tmp_path: Path) -> Iterator[ProgramProcess]:
    one = ProgramProcess(settings, "city", tmp_path / "first.log")
    yield one
    one.process.kill()
    one.process.wait(scaled_s(20))


def snapshots(city: CityOnServers) -> int:
    try:
        found = PostgresCitySnapshots(city.backends.engine, 10).newest()
    except PortUnavailable:
        return 0
    return 0 if found is None else found.number


def wait_for_more(city: CityOnServers, than: int) -> None:
    """Wait until two more snapshots are made. An event that no fold has yet keeps each round due."""
    city.ride(["rider that is not folded"])
    eventually(lambda: snapshots(city) > than + 1, within_s=60, what="snapshots are made")


def test_it_waits_for_generations_and_reports_why(city: CityOnServers, first: ProgramProcess) -> None:
    def state() -> str:
        report = newest(read_stages(city.backends.engine)).get("city")
        return "" if report is None else report.progress.state

    eventually(lambda: "traffic has no generation yet" in state(), within_s=60, what="it reports why it waits")
    city.fold(TRAFFIC)
    city.fold(ORDERS)
    city.fold(CALIBRATION)
    wait_for_more(city, 0)
    first.wait_for(city.backends.engine, "city")


def test_a_second_one_waits_and_takes_over(
    city: CityOnServers, first: ProgramProcess, settings: Settings, tmp_path: Path
) -> None:
    city.fold(TRAFFIC)
    city.fold(ORDERS)
    city.fold(CALIBRATION)
    wait_for_more(city, 0)
    second = ProgramProcess(settings, "city", tmp_path / "second.log")
    try:
        of_second = psutil.Process(second.process.pid)
        eventually(lambda: of_second.net_connections(kind="all"), within_s=60, what="it is connected to Postgres")
        wait_for_more(city, snapshots(city))
        assert second.process.poll() is None
        made = len([r for r in read_stages(city.backends.engine) if r.stage == "city"])
        assert made == 1
        first.process.kill()
        first.process.wait(scaled_s(20))
        second.wait_for(city.backends.engine, "city")
        wait_for_more(city, snapshots(city))
        second.send(SIGTERM)
        assert second.process.wait(scaled_s(30)) == 0
    finally:
        second.process.kill()
        second.process.wait(scaled_s(20))


@pytest.mark.parametrize("server", ["redis_server", "migrated_postgres"])
def test_it_outlives_a_restart_of_its_servers(
    city: CityOnServers, first: ProgramProcess, server: str, request: pytest.FixtureRequest
) -> None:
    city.ride(["anna", "ben"])
    city.fold(TRAFFIC)
    city.fold(ORDERS)
    city.fold(CALIBRATION)
    wait_for_more(city, 0)
    before = snapshots(city)
    restarted: Valkey | Postgres = request.getfixturevalue(server)
    restarted.kill()
    restarted.start()
    eventually(lambda: snapshots(city) > 0, within_s=60, what="Postgres answers")
    wait_for_more(city, before)
    city.backends.drop_connections()
    found = PostgresCitySnapshots(city.backends.engine, 10).newest()
    assert found is not None
    assert found.digest == city.replayed_digest(found)
    assert first.process.poll() is None
