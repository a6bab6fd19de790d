"""City snapshots on real servers: each is the merge of the log at its vector, whatever happens to the shards."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import msgspec
import pytest

from domain.identifiers import SHARDS, shard_of
from infrastructure.postgres.city_snapshots import KEPT_CONTENTS, PostgresCitySnapshots
from infrastructure.processes.city_maker import CityNotReady
from infrastructure.redis.projection_sink import decode_fence, encode_fence
from infrastructure.settings.settings import Settings
from projections.calibration import CALIBRATION
from projections.core.ports import PortUnavailable
from projections.orders import ORDERS
from projections.traffic import TRAFFIC
from read_models.city.content import decode, digest_of
from read_models.city.snapshot import CitySnapshot
from read_models.redis_keys import fence_key
from tests.support.worlds.city_on_servers import NOW_MS, CityOnServers, city_on_servers

RIDERS = [f"rider-{number}" for number in range(12)]


@pytest.fixture
def city(settings: Settings) -> Iterator[CityOnServers]:
    with city_on_servers(settings) as one:
        yield one


def fold_both(city: CityOnServers) -> None:
    city.fold(TRAFFIC)
    city.fold(ORDERS)
    city.fold(CALIBRATION)


def test_a_city_without_generations_is_not_ready(city: CityOnServers) -> None:
    with pytest.raises(CityNotReady, match="traffic has no generation yet"):
        city.maker.make()


def test_an_empty_log_has_an_empty_city(city: CityOnServers) -> None:
    fold_both(city)
    made = city.maker.make()
    assert (made.number, made.as_of_ms) == (1, NOW_MS)
    assert {sum(vector.seqs) for vector in made.vectors.values()} == {0}
    assert made.digest == city.replayed_digest(made)


def test_invariant_8_a_snapshot_is_the_merge_of_the_log_at_its_vector(city: CityOnServers) -> None:
    made = []
    for step, riders in enumerate((RIDERS[:5], RIDERS[5:])):
        city.ride(riders)
        city.deliver([f"order-{step}-{number}" for number in range(4)])
        fold_both(city)
        made.append(city.maker.make())
    city.fold(TRAFFIC)
    # The same vector by a maker that reads whole tables.
    made.append(city.new_maker().make())
    assert [one.number for one in made] == [1, 2, 3]
    assert (made[1].digest, made[1].vectors) == (made[2].digest, made[2].vectors)
    for one in made:
        assert one.digest == city.replayed_digest(one)
        assert PostgresCitySnapshots(city.backends.engine, 10).record(one.number) == one
    assert made[0].digest != made[1].digest


def test_a_snapshot_has_all_until_an_event_is_recorded_or_another_generation_is_read(city: CityOnServers) -> None:
    city.ride(RIDERS)
    city.deliver(["one"])
    fold_both(city)
    made = city.maker.make()
    assert city.maker.has_all(made)
    assert city.new_maker().has_all(made)
    city.deliver(["two"])
    assert not city.maker.has_all(made)
    assert not city.maker.has_all(city.maker.make()), "the event is recorded and not folded"
    fold_both(city)
    made = city.maker.make()
    assert city.maker.has_all(made)
    vectors = {**made.vectors, "traffic": msgspec.structs.replace(made.vectors["traffic"], generation=2)}
    assert not city.maker.has_all(made._replace(vectors=vectors))
    assert not city.maker.has_all(made._replace(log_id=uuid.uuid4()))


def test_a_snapshot_without_a_shard_that_does_not_match_the_log_has_not_all(city: CityOnServers) -> None:
    city.ride(RIDERS)
    fold_both(city)
    city.server.set(fence_key(TRAFFIC.name, 1, shard_of(RIDERS[0])), b"a damaged fence")
    assert not city.maker.has_all(city.maker.make())


def test_what_a_snapshot_answers(city: CityOnServers) -> None:
    city.ride(RIDERS)
    city.deliver(["one", "two"])
    fold_both(city)
    made = city.maker.make()
    data = PostgresCitySnapshots(city.backends.engine, 10).content(made)
    assert data is not None
    snapshot = CitySnapshot(made.number, made.digest, decode(data))
    cell, heading = snapshot.cells()[0]
    assert snapshot.traffic_at(cell, heading).riders >= 3
    assert snapshot.pace(cell, heading, NOW_MS) == pytest.approx(100.0, rel=0.05)
    [(place, *_)] = snapshot.content.finished
    assert snapshot.orders_at(place) == (0, 480.0, 180.0)


def test_a_shard_that_does_not_match_the_log_is_left_out_until_it_does(city: CityOnServers) -> None:
    city.ride(RIDERS)
    fold_both(city)
    whole, shard = city.maker.make(), shard_of(RIDERS[0])
    key = fence_key(TRAFFIC.name, 1, shard)
    stored = city.server.get(key)
    assert isinstance(stored, bytes)
    fence = decode_fence(stored)
    assert fence is not None
    city.server.set(key, encode_fence(fence._replace(event="forged")))
    for _ in range(2):
        without = city.maker.make()
        assert city.maker.foreign_shards() == 1
        assert without.vectors["traffic"].seqs[shard] == 0
        assert without.digest == city.replayed_digest(without) != whole.digest
    city.server.set(key, stored)
    again = city.maker.make()
    assert (again.digest, city.maker.foreign_shards()) == (whole.digest, 0)


def test_a_refolded_shard_is_read_whole(city: CityOnServers) -> None:
    city.ride(RIDERS)
    fold_both(city)
    whole, shard = city.maker.make(), shard_of(RIDERS[0])
    city.server.set(fence_key(TRAFFIC.name, 1, shard), b"a damaged fence")
    city.maker.make()
    city.fold(TRAFFIC)
    assert city.maker.make().digest == whole.digest


def test_a_new_generation_is_read_once_no_shard_is_behind(city: CityOnServers) -> None:
    city.ride(RIDERS)
    fold_both(city)
    first = city.maker.make()
    generations = city.backends.generations
    [live] = generations.all(TRAFFIC.name)
    new = generations.begin(TRAFFIC)
    city.fold(TRAFFIC, new.number, [shard for shard in range(SHARDS) if shard != shard_of(RIDERS[0])])
    with generations.switching(live, new):
        pass
    assert city.maker.make().vectors == first.vectors
    city.fold(TRAFFIC, new.number)
    after = city.maker.make()
    assert (after.vectors["traffic"].generation, after.vectors["traffic"].seqs) == (2, first.vectors["traffic"].seqs)
    # The generation is part of the bytes.
    assert after.digest == city.replayed_digest(after) != first.digest


def test_the_old_generation_may_be_dropped_before_the_new_one_is_as_far(city: CityOnServers) -> None:
    city.ride(RIDERS)
    fold_both(city)
    city.maker.make()
    generations = city.backends.generations
    [live] = generations.all(TRAFFIC.name)
    new = generations.begin(TRAFFIC)
    with generations.switching(live, new):
        pass
    city.backends.stores.sink(TRAFFIC, 1).drop()
    assert city.maker.make().vectors["traffic"].generation == 2


def test_after_redis_was_emptied_the_city_is_what_is_folded_again(city: CityOnServers) -> None:
    city.ride(RIDERS)
    fold_both(city)
    whole = city.maker.make()
    city.server.flushall()
    empty = city.maker.make()
    assert sum(empty.vectors["traffic"].seqs) == 0
    assert empty.digest == city.replayed_digest(empty)
    fold_both(city)
    assert city.maker.make().digest == whole.digest


def test_bytes_are_kept_of_the_newest_and_records_as_many_as_the_setting_says(city: CityOnServers) -> None:
    fold_both(city)
    made = [city.maker.make() for _ in range(8)]
    cities = PostgresCitySnapshots(city.backends.engine, keep=6)
    assert [cities.content(one) is not None for one in made] == [False] * (8 - KEPT_CONTENTS) + [True] * KEPT_CONTENTS
    cities.prune()
    assert [cities.record(one.number) for one in made] == [None, None, *made[2:]]
    assert cities.newest() == made[-1]
    newest = cities.content(made[-1])
    assert newest is not None
    assert digest_of(newest) == made[-1].digest


def test_an_unavailable_server_is_a_port_error(city: CityOnServers, settings: Settings) -> None:
    fold_both(city)
    with (
        city_on_servers(msgspec.structs.replace(settings, redis_url="redis://127.0.0.1:1/0")) as without_redis,
        pytest.raises(PortUnavailable),
    ):
        without_redis.maker.make()
