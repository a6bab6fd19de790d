"""The ETA on real servers: a log of both streams, its projections in Redis, and the route over real HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import httpx

from domain.deliveries.commands import Assign, Cancel, Complete, DeliveryCommand, PickUp, PlaceOrder, Unassign
from domain.deliveries.values import Coordinates, DeliverySnapshot
from domain.features.eta.baseline import Baseline, BaselineConstants
from domain.gps_ping import parse_ping
from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.eta_models.served_models import FixedModel
from infrastructure.eta_models.shadow import ShadowAnswers
from infrastructure.eta_models.shadow_table import ShadowTable
from infrastructure.http.application import ApiParts, build
from infrastructure.http.delivery_links import track_route
from infrastructure.http.eta import eta_route
from infrastructure.http.eta_answers import EtaAnswers, EtaModels, EtaReads
from infrastructure.http.link_tokens import LinkTokens
from infrastructure.operations.first_etas import FirstEtas
from infrastructure.postgres.city_snapshots import PostgresCitySnapshots
from infrastructure.postgres.generations import active
from infrastructure.processes.city_maker import CityMaker
from infrastructure.redis.cluster_reads import key_reads
from infrastructure.redis.pipelined_reads import KeyReads
from infrastructure.redis.state_reader import StateReader
from infrastructure.replay.past_etas import PastEtas
from infrastructure.settings.settings import Settings
from infrastructure.timestamps import now_ms
from projections.calibration import CALIBRATION
from projections.core.projection import Projection
from projections.orders import ORDERS
from projections.parity.served_etas import ServedEta
from projections.rebuild.catch_up import CatchUp
from projections.speed import SPEED
from projections.traffic import TRAFFIC
from read_models.city.content import decode
from read_models.city.snapshot import CitySnapshot
from tests.support.servers.http_server import served

RESTAURANT, CUSTOMER = Coordinates(52.52, 13.40), Coordinates(52.53, 13.40)
MODEL = Baseline(
    BaselineConstants(
        reference_pace_s_per_km=120.0,
        usual_pace_s_per_km=240.0,
        detour=1.3,
        constant_s=15.0,
        seen_late_s=30.0,
        distance_m=(10.0, 1_000.0, 10_000.0),
        log_seconds=(3.0, 5.0, 7.0),
        cell_exponent=0.5,
        rider_exponent=0.2,
        log_speed_factor=-0.05,
        log_speed_unknown=-0.03,
        log_speed_mean=-0.05,
        p90_ratio=(2.0, 1.8, 1.5),
        at_customer_s=30.0,
        at_customer_p90_s=90.0,
        hand_over_s=60.0,
        hand_over_p90_s=180.0,
        hand_over_left_share=0.75,
        pick_up_s=60.0,
        pick_up_p90_s=240.0,
        stop_s=120.0,
        pick_up_stop_s=300.0,
        assignment_s=120.0,
        free_rider_s=30.0,
        wait_p90_ratio=2.0,
        approach_m=1_500.0,
        preparation_s=900.0,
        preparation_p90_ratio=1.5,
    )
)

FIXED_MODEL = FixedModel(MODEL)


class CountingReads:
    """Counts the round trips to Redis."""

    def __init__(self, reads: KeyReads) -> None:
        self._reads = reads
        self.count = 0

    async def execute(self, *command: str) -> Any:
        self.count += 1
        return await self._reads.execute(*command)

    async def execute_all(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        self.count += 1
        return await self._reads.execute_all(commands)

    async def aclose(self) -> None:
        await self._reads.aclose()


class EtaOnServers:
    """``fold`` takes the place of the workers, ``make_city`` that of the city's process.

    ``first_etas`` and ``shadow`` are not started: a test flushes them.
    """

    def __init__(self, backends: Backends) -> None:
        self.backends = backends
        self.city: CitySnapshot | None = None
        self.on_record: list[ServedEta] = []
        self.first_etas = FirstEtas(backends.deliveries.execute)
        self.shadow = ShadowAnswers(ShadowTable(backends.engine).add)

    def place(self, order_id: str, **fields: Any) -> int:
        values = {"restaurant": RESTAURANT, "customer": CUSTOMER, "time_zone": "Europe/Berlin", "currency": "EUR"}
        return self.command(PlaceOrder, order_id, **values | fields)

    def assign(self, order_id: str, rider_id: str, **fields: Any) -> int:
        return self.command(Assign, order_id, rider_id=rider_id, **fields)

    def unassign(self, order_id: str) -> int:
        return self.command(Unassign, order_id)

    def pick_up(self, order_id: str, **fields: Any) -> int:
        return self.command(PickUp, order_id, **fields)

    def complete(self, order_id: str, **fields: Any) -> int:
        return self.command(Complete, order_id, **fields)

    def cancel(self, order_id: str) -> int:
        return self.command(Cancel, order_id)

    def command(self, kind: Callable[..., DeliveryCommand], order_id: str, **fields: Any) -> int:
        """The log position of the delivery's event."""
        [outcome] = self.backends.deliveries.execute([kind(order_id=order_id, received_ms=now_ms(), **fields)])
        assert outcome.rejection is None
        assert outcome.position is not None
        return outcome.position

    def ride(self, rider_id: str, north: float, *, seconds: int = 60, mps: float = 5.0) -> None:
        """Pings of a rider who goes north, one each 5 s, and is ``north`` degrees north of the restaurant now."""
        now = now_ms()
        pings = [
            parse_ping(
                {
                    "rider_id": rider_id,
                    "latitude": RESTAURANT.latitude + north - before_s * mps / 111_195.0,
                    "longitude": RESTAURANT.longitude,
                    "event_timestamp_ms": now - before_s * 1_000,
                    "accuracy_meters": 5.0,
                },
                now,
            )
            for before_s in range(seconds, -1, -5)
        ]
        assert all(outcome.rejection is None for outcome in self.backends.riders.record_pings(pings))

    def fold(self, *projections: Projection[Any]) -> None:
        for projection in projections or (SPEED, ORDERS, TRAFFIC, CALIBRATION):
            self.backends.generations.first(projection)
            sink = self.backends.stores.sink(projection, 1)
            CatchUp(projection, self.backends.log, sink, self.backends.decode, range(SHARDS)).run()

    def make_city(self) -> CitySnapshot:
        stored = CityMaker(self.backends, now_ms).make()
        data = PostgresCitySnapshots(self.backends.engine, 100).content(stored)
        assert data is not None
        self.city = CitySnapshot(stored.number, stored.digest, decode(data))
        return self.city


class EtaClient:
    """Asks the route over real HTTP. ``reads`` counts its round trips to Redis."""

    def __init__(self, url: str, http: httpx.Client, reads: CountingReads, tokens: LinkTokens) -> None:
        self.url = url
        self._http = http
        self.reads = reads
        self._tokens = tokens

    def track(self, order_id: str) -> dict[str, Any]:
        """What the customer's link shows."""
        token = self._tokens.sign(order_id, now_ms() + 60_000)
        answer = self._http.get(f"{self.url}/track/{token}")
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert isinstance(body, dict)
        return body

    def get(self, order_id: str, **query: Any) -> httpx.Response:
        return self._http.get(f"{self.url}/deliveries/{order_id}/eta", params=query)

    def eta(self, order_id: str, **query: Any) -> dict[str, Any]:
        answer = self.get(order_id, **query)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert isinstance(body, dict)
        return body


@contextmanager
def eta_client(world: EtaOnServers, max_events: int = 200_000, models: EtaModels = FIXED_MODEL) -> Iterator[EtaClient]:
    """The whole API with the route of the ETA; it records each answer in ``world.on_record``."""
    backends, absent = world.backends, cast("Any", None)
    cache = backends.async_cache()
    reads = CountingReads(key_reads(cache))
    orders, riders = (
        StateReader(cache, projection.name, partial(active, backends.engine, projection.name), reads)
        for projection in (ORDERS, SPEED)
    )
    past = PastEtas(backends.engine, backends.decode, max_events)
    answers = EtaAnswers(
        EtaReads(orders, riders, lambda: world.city, past),
        models,
        world.on_record.append,
        world.first_etas,
        world.shadow,
    )
    tokens = LinkTokens("a secret of the tests, thirty-two characters")

    def recorded(order_id: str) -> DeliverySnapshot:
        return backends.deliveries.get(order_id)

    parts = ApiParts(
        absent,
        absent,
        absent,
        lambda: None,
        lambda _read: None,
        {},
        _nothing,
        routers=[eta_route(answers), track_route(recorded, answers.live, tokens)],
        on_shutdown=[reads.aclose, cache.aclose],
    )
    with served(build(Settings(), parts)) as url, httpx.Client(trust_env=False, timeout=60) as http:
        yield EtaClient(url, http, reads, tokens)


@contextmanager
def eta_on_servers(settings: Settings) -> Iterator[EtaOnServers]:
    with Backends(settings) as backends:
        yield EtaOnServers(backends)


async def _nothing() -> None:
    """No gauge needs a refresh."""
