"""The city snapshot that an API process holds: the newest, and never one whose bytes are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import delete, update

from infrastructure.operations.city_feed import CityFeed
from infrastructure.postgres.audit_tables import city_contents, city_snapshots
from infrastructure.postgres.city_snapshots import DamagedCity, PostgresCitySnapshots
from infrastructure.postgres.schema import log_head
from infrastructure.settings.settings import Settings
from projections.calibration import CALIBRATION
from projections.orders import ORDERS
from projections.traffic import TRAFFIC
from tests.support.waiting import eventually
from tests.support.worlds.city_on_servers import CityOnServers, city_on_servers


@pytest.fixture
def city(settings: Settings) -> Iterator[CityOnServers]:
    with city_on_servers(settings) as one:
        one.fold(TRAFFIC)
        one.fold(ORDERS)
        one.fold(CALIBRATION)
        yield one


@pytest.fixture
def feed(city: CityOnServers) -> CityFeed:
    return CityFeed(PostgresCitySnapshots(city.backends.engine, 10), interval_s=0.01)


def number_of(feed: CityFeed) -> int | None:
    newest = feed.newest()
    return None if newest is None else newest.number


def test_it_holds_the_newest(city: CityOnServers, feed: CityFeed) -> None:
    feed.poll()
    assert feed.newest() is None
    for number in (1, 2):
        made = city.maker.make()
        feed.poll()
        held = feed.newest()
        assert held is not None
        assert (held.number, held.digest) == (number, made.digest)
    before = feed.newest()
    feed.poll()
    assert feed.newest() is before


def test_a_database_that_was_restored_has_lower_numbers(city: CityOnServers, feed: CityFeed) -> None:
    city.maker.make()
    city.maker.make()
    feed.poll()
    with city.backends.engine.begin() as connection:
        connection.execute(delete(city_snapshots).where(city_snapshots.c.number == 2))
        connection.execute(delete(city_contents).where(city_contents.c.number == 2))
    feed.poll()
    assert number_of(feed) == 1


def test_invariant_14_a_city_of_another_log_is_not_held(city: CityOnServers, feed: CityFeed) -> None:
    city.maker.make()
    feed.poll()
    assert number_of(feed) == 1
    with city.backends.engine.begin() as connection:
        connection.execute(update(log_head).values(log_id=uuid4()))
    feed.poll()
    assert feed.newest() is None


def test_damaged_bytes_are_not_used(city: CityOnServers, feed: CityFeed) -> None:
    city.maker.make()
    feed.poll()
    made = city.maker.make()
    with city.backends.engine.begin() as connection:
        connection.execute(
            update(city_contents).where(city_contents.c.number == made.number).values(content=b"damaged")
        )
    with pytest.raises(DamagedCity):
        feed.poll()
    assert number_of(feed) == 1


def test_its_thread_survives_what_it_cannot_read(city: CityOnServers, feed: CityFeed) -> None:
    made = city.maker.make()
    with city.backends.engine.begin() as connection:
        connection.execute(update(city_contents).where(city_contents.c.number == made.number).values(content=b""))
    feed.start()
    try:
        city.maker.make()
        eventually(lambda: number_of(feed) == 2, within_s=10, what="the next snapshot is held")
    finally:
        feed.stop()
