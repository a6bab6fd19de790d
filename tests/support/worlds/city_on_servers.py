"""A city on real servers: a log of both streams in Postgres, its projections in Redis, folded when a test says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from domain.deliveries.commands import Assign, Complete, DeliveryCommand, PickUp, PlaceOrder, RecordEta
from domain.deliveries.values import Coordinates
from domain.gps_ping import parse_ping
from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.postgres.city_snapshots import StoredCity
from infrastructure.processes.city_maker import CityMaker
from infrastructure.settings.settings import Settings
from projections.core.projection import Projection
from projections.rebuild.catch_up import CatchUp
from projections.replay.as_of import AsOf
from projections.replay.city import CITY_PROJECTIONS, PERMANENT_SLOTS
from projections.replay.shard_replay import replay_shard
from projections.replay.source import ReplaySource
from read_models.city.content import CityParts, CityTables, digest_of, encode, hours_of, merge, tables_of
from tests.support.worlds.city import drive
from tests.support.worlds.rider_events import START_MS

NOW_MS = START_MS + 600_000


class CityOnServers:
    """``fold`` takes the place of the workers; ``maker`` makes snapshots at NOW_MS."""

    def __init__(self, backends: Backends) -> None:
        self.backends = backends
        self.maker = self.new_maker()

    @property
    def server(self) -> redis.Redis:
        """The client of the sink, which is one server."""
        assert isinstance(self.backends.cache, redis.Redis)
        return self.backends.cache

    def new_maker(self) -> CityMaker:
        return CityMaker(self.backends, lambda: NOW_MS)

    def ride(self, riders: Iterable[str]) -> None:
        """Five minutes of pings of each rider."""
        events = [data for rider in riders for _, _, data in drive(rider, 0, 16, 200, north=True)]
        pings = [parse_ping(data, received_ms=data["event_timestamp_ms"]) for data in events]
        assert all(outcome.rejection is None for outcome in self.backends.riders.record_pings(pings))

    def deliver(self, orders: Iterable[str]) -> None:
        """Each order placed, carried and completed within eight minutes."""
        for order in orders:
            at_ms = START_MS
            commands: list[DeliveryCommand] = [
                PlaceOrder(
                    order_id=order,
                    received_ms=at_ms,
                    restaurant=Coordinates(52.52, 13.4),
                    customer=Coordinates(52.53, 13.41),
                    time_zone="Europe/Berlin",
                    currency="EUR",
                    promised_seconds=300,
                ),
                Assign(order_id=order, received_ms=at_ms + 60_000, rider_id=f"of {order}"),
                PickUp(order_id=order, received_ms=at_ms + 240_000),
                Complete(order_id=order, received_ms=at_ms + 480_000),
            ]
            for command in commands:
                [outcome] = self.backends.deliveries.execute([command])
                assert outcome.rejection is None

    def answer(self, orders: Iterable[str]) -> None:
        """An ETA of each order, given when it was placed and recorded now; the order may be over."""
        for order in orders:
            eta = RecordEta(
                order_id=order,
                received_ms=START_MS,
                leg="unassigned",
                p50_seconds=400.0,
                p90_seconds=700.0,
                model_digest="model",
                model_p50_seconds=300.0,
                model_p90_seconds=600.0,
            )
            [outcome] = self.backends.deliveries.execute([eta])
            assert outcome.recorded

    def fold(self, projection: Projection[Any], generation: int = 1, shards: Sequence[int] = range(SHARDS)) -> None:
        self.backends.generations.first(projection)
        sink = self.backends.stores.sink(projection, generation)
        CatchUp(projection, self.backends.log, sink, self.backends.decode, shards).run()

    def replayed_digest(self, city: StoredCity) -> str:
        """The digest of a snapshot merged from nothing but the log, at the vector that is on record."""
        archive = self.backends.archive

        def tables(projection: Projection[Any]) -> CityTables:
            vector = city.vectors[projection.name]
            horizon = archive.horizon(AsOf.at_position(archive.head(projection.stream).position))
            source = ReplaySource(projection, archive, self.backends.decode)
            found = [
                replay_shard(source, shard, horizon, upto_seq=vector.seqs[shard]).partials for shard in range(SHARDS)
            ]
            return tables_of(vector, found, PERMANENT_SLOTS[projection.name])

        parts = CityParts(*map(tables, CITY_PROJECTIONS))
        content = merge(str(city.log_id), city.as_of_ms, parts, hours_of(parts))
        return digest_of(encode(content))


@contextmanager
def city_on_servers(settings: Settings) -> Iterator[CityOnServers]:
    with Backends(settings) as backends:
        yield CityOnServers(backends)
