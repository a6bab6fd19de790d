"""The city's process, the ETA and the status on a Redis Cluster, as they are on one server."""

from __future__ import annotations

import pytest

from domain.identifiers import SHARDS
from infrastructure.settings.settings import Settings
from projections.calibration import CALIBRATION
from projections.orders import ORDERS
from projections.speed import SPEED
from projections.traffic import TRAFFIC
from tests.support.servers.valkey_cluster import ValkeyCluster
from tests.support.worlds.city_on_servers import city_on_servers
from tests.support.worlds.eta_on_servers import eta_client, eta_on_servers

RIDERS = [f"rider-{number}" for number in range(3)]


@pytest.fixture
def on_cluster(postgres_url: str, redis_cluster_url: str) -> Settings:
    return Settings(postgres_url=postgres_url, redis_url=redis_cluster_url)


def test_invariant_8_a_snapshot_is_the_merge_of_the_log_at_its_vector(on_cluster: Settings) -> None:
    with city_on_servers(on_cluster) as city:
        for projection in (TRAFFIC, ORDERS, CALIBRATION):
            city.fold(projection)
        empty = city.maker.make()
        city.ride(RIDERS)
        city.deliver(["order-1", "order-2"])
        for projection in (TRAFFIC, ORDERS, CALIBRATION):
            city.fold(projection)
        # By a maker that follows the changes, and by one that reads whole tables.
        followed, whole = city.maker.make(), city.new_maker().make()
        assert empty.digest != followed.digest == whole.digest == city.replayed_digest(followed)


def test_an_eta_takes_two_round_trips_and_names_its_evidence(on_cluster: Settings) -> None:
    with eta_on_servers(on_cluster) as world:
        world.place("order-1", preparation_seconds=600)
        assigned = world.assign("order-1", "anna")
        world.ride("anna", -0.01)
        world.fold()
        city = world.make_city()
        with eta_client(world) as client:
            client.eta("order-1")
            before = client.reads.count
            found = client.eta("order-1")
            assert client.reads.count - before == 2
            assert client.get("unknown").status_code == 404
        rider = world.backends.log.head("Rider").position
        assert found["positions"] == {"order": assigned, "rider": rider, "city_snapshot": city.number}
        assert found["features"]["rider_speed_mps"] == pytest.approx(5.0, rel=0.1)


def test_fences_reach_the_head_and_a_dropped_generation_leaves_no_key(
    on_cluster: Settings, redis_cluster: ValkeyCluster
) -> None:
    with eta_on_servers(on_cluster) as world:
        world.ride("anna", -0.01)
        world.fold(SPEED)
        world.ride("anna", -0.009)
        sink = world.backends.stores.sink(SPEED, 1)
        head = world.backends.log.head(SPEED.stream)
        assert sum(fence.seq for fence in sink.fences(range(SHARDS)) if fence is not None) < sum(head.seqs)
        world.fold(SPEED)
        assert sum(fence.seq for fence in sink.fences(range(SHARDS)) if fence is not None) == sum(head.seqs)
        sink.drop()
        assert redis_cluster.keys() == []
