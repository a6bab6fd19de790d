"""Invariant 16 on real servers: foreign writes to the topic or to Redis stop nothing and hide no rider."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from confluent_kafka import Producer

from domain.identifiers import SHARDS, shard_of
from infrastructure.event_store.log_reader import PostgresLog
from infrastructure.postgres.engine import reader_engine
from infrastructure.redis.connection import connect_server
from infrastructure.redis.projection_sink import RedisSink
from projections.core.ports import Fence, LogHead
from read_models.redis_keys import fence_key
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog

PARTITIONS = 8


def a_ping(rider: str, t_ms: int) -> dict[str, Any]:
    return {"rider_id": rider, "latitude": 52.5, "longitude": 13.4, "event_timestamp_ms": t_ms, "accuracy_meters": 5}


def riders_of_all_shards(mark: str) -> list[str]:
    """One rider for each shard."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < SHARDS:
        rider = f"{mark}-{number}"
        found.setdefault(shard_of(rider), rider)
        number += 1
    return [found[shard] for shard in range(SHARDS)]


def head(ridelog: Ridelog) -> LogHead:
    engine = reader_engine(ridelog.info.postgres_url)
    try:
        return PostgresLog(engine).head("Rider")
    finally:
        engine.dispose()


def publish(ridelog: Ridelog, records: list[tuple[str, dict[str, int]]]) -> None:
    """Publish (key, headers), as any client with write access to the topic may."""
    producer = Producer({"bootstrap.servers": ridelog.info.kafka_bootstrap})
    for key, numbers in records:
        headers: list[tuple[str, str | bytes | None]] = [("id", str(uuid.uuid4()).encode()), ("eventType", b"GpsPing")]
        headers += [(name, str(number).encode()) for name, number in numbers.items()]
        producer.produce("gps-pings", b"\x00forged", key.encode(), shard_of(key) % PARTITIONS, headers=headers)
    assert producer.flush(20) == 0


def foreign(ridelog: Ridelog, projection: str) -> int:
    """Number of records counted as foreign, from `/metrics`."""
    text = ridelog.http.get("/metrics").text
    name = f'ridelog_projection_events_total{{projection="{projection}",what="foreign"}}'
    return sum(int(float(line.rpartition(" ")[2])) for line in text.splitlines() if line.startswith(name))


def stage(ridelog: Ridelog, name: str) -> dict[str, Any]:
    stages = json.loads(ridelog.ask("status", "--json").stdout)["stages"]
    [found] = [one for one in stages if one["stage"] == name]
    assert isinstance(found, dict)
    return found


def read(ridelog: Ridelog, rider: str) -> httpx.Response:
    return ridelog.http.get(f"/riders/{rider}/speed")


def test_regression_forged_records_stop_no_projection_and_make_no_rider_a_404(ridelog: Ridelog) -> None:
    riders = riders_of_all_shards(uuid.uuid4().hex[:8])
    now_ms = time.time_ns() // 1_000_000
    position = ridelog.post([a_ping(rider, now_ms) for rider in riders])["position"]
    for rider in riders:
        ridelog.speed_at(rider, position - 2 * len(riders))
    now = head(ridelog)
    forged = [
        (rider, {"position": at, "seq": now.seqs[shard_of(rider)] + 1, "version": 3})
        for at in (10**30, now.position + 1)
        for rider in riders
    ]
    publish(ridelog, forged)

    def counted() -> bool:
        assert {read(ridelog, rider).status_code for rider in riders[::8]} == {200}
        return all(foreign(ridelog, name) >= len(forged) for name in ("speed", "locations"))

    eventually(counted, within_s=60, every_s=0.2, what="all forged records are counted as foreign")
    # All projections continue, through the next pings and through a restart.
    ridelog.kill("projections")
    position = ridelog.post([a_ping(rider, now_ms + 1_000) for rider in riders])["position"]
    for rider in riders:
        assert ridelog.speed_at(rider, position - len(riders))["event_timestamp_ms"] == now_ms + 1_000
    assert stage(ridelog, "log")["advice"] == "", "a log that was not restored is not reported as restored"


@contextmanager
def stopped(ridelog: Ridelog, program: str) -> Iterator[None]:
    pids = [entry.pid for entry in ridelog.processes_of(program).values()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_regression_a_fence_that_cannot_be_is_replaced_while_the_old_speed_is_served(ridelog: Ridelog) -> None:
    mark = uuid.uuid4().hex[:8]
    rider = f"{mark}-anna"
    stranger = next(r for n in range(100_000) if shard_of(r := f"{mark}-{n}") == shard_of(rider))
    now_ms = time.time_ns() // 1_000_000
    position = ridelog.post([a_ping(rider, now_ms)])["position"]
    before = ridelog.speed_at(rider, position)
    shard, client = shard_of(rider), connect_server(ridelog.info.redis_url)
    sink = RedisSink(client, "speed", 1)
    with stopped(ridelog, "projections"):
        [good] = sink.fences([shard])
        assert good is not None
        bad = f"{good.log_id} {good.incarnation} {good.seq} {10**30} {good.event}"
        client.set(fence_key("speed", 1, shard), bad)
        # The state right after the worker has found the fence and has started to refold.
        assert sink.staging().reset(shard, None, Fence(good.log_id, uuid.uuid4().hex, 0, 0))
        answer = read(ridelog, rider)
        assert (answer.status_code, answer.headers["ridelog-refolding"]) == (200, "true")
        assert answer.json()["version"] == before["version"]
        assert read(ridelog, stranger).status_code == 503

    def refolded() -> bool:
        answer = read(ridelog, rider)
        assert answer.status_code == 200, answer.text
        [fence] = sink.fences([shard])
        return fence is not None and fence._replace(incarnation="") == good._replace(incarnation="")

    eventually(refolded, within_s=60, every_s=0.05, what="the shard was refolded and promoted")
    answer = read(ridelog, rider)
    assert "ridelog-refolding" not in answer.headers
    assert answer.json()["version"] == before["version"]
    assert read(ridelog, stranger).status_code == 404
    assert sink.staging().fences([shard]) == [None]
    client.close()


def test_regression_a_rebuild_does_not_wait_for_a_fence_that_cannot_be(ridelog: Ridelog) -> None:
    rider = f"{uuid.uuid4().hex[:8]}-bert"
    position = ridelog.post([a_ping(rider, time.time_ns() // 1_000_000)])["position"]
    before = ridelog.speed_at(rider, position)
    client = connect_server(ridelog.info.redis_url)
    key = fence_key("speed", before["generation"], shard_of(rider))
    log_id, incarnation, seq, _, event = (client.get(key) or b"").decode().split(" ")  # type: ignore[union-attr]
    client.set(key, f"{log_id} {incarnation} {seq} {2**63 - 1} {event}")
    done = ridelog.cli("rebuild-projection", "speed", "--json", timeout_s=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ridelog.speed_at(rider, position)["version"] == before["version"]
    client.close()
