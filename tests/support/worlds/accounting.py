"""Accounts for every acknowledged ping: once in the event store, in Kafka or filled, and folded exactly in Redis."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from sqlalchemy import text

from domain.events.contracts import Codec
from domain.features.keyed_event import KeyedEvent
from domain.identifiers import SHARDS, shard_of
from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.redis.connection import connect_server
from infrastructure.schema_registry.client import schema_ids
from infrastructure.settings.settings import Settings
from projections.analytics import ANALYTICS
from projections.rebuild.generations import is_kept_up
from projections.speed import SPEED
from read_models.redis_keys import state_key
from tests.support.kafka.consumer_probe import arrived
from tests.support.waiting import eventually
from tests.support.worlds.locations import read_locations
from tests.support.worlds.ridelog import Ridelog

Identity = tuple[str, int, str]
"""(rider, event time in ms, event id)."""


class Account(NamedTuple):
    """``identities`` counts recorded pings; ``states`` has every rider's state, folded from the start of the log."""

    events: int
    identities: Counter[Identity]
    states: dict[str, bytes]
    seqs: dict[int, int]
    """Shard -> its last seq of the stream Rider."""
    positions: dict[str, int]
    """The position of each rider's last event."""
    delivery_seqs: dict[int, int]
    """Shard -> its last seq of the stream Delivery."""


def last_seqs(ridelog: Ridelog, stream: str = "Rider") -> dict[int, int]:
    """Shard -> its last seq of the stream in the event store, 0 if it is empty."""
    engine = reader_engine(ridelog.info.postgres_url)
    query = text("SELECT shard, max(seq) FROM events WHERE stream = :stream GROUP BY shard")
    with engine.connect() as connection:
        rows = connection.execute(query, {"stream": stream}).all()
    engine.dispose()
    return dict.fromkeys(range(SHARDS), 0) | {int(shard): int(seq) for shard, seq in rows}


def read_log(ridelog: Ridelog) -> Account:
    """Read the whole event store. Raises AssertionError if position, seq or version has a gap."""
    engine = reader_engine(ridelog.info.postgres_url)
    decode = Codec(schema_ids(Settings(), engine)).decode
    identities: Counter[Identity] = Counter()
    states: dict[str, Any] = {}
    seqs: defaultdict[str, dict[int, int]] = defaultdict(lambda: dict.fromkeys(range(SHARDS), 0))
    versions: Counter[tuple[str, str]] = Counter()
    positions: dict[str, int] = {}
    count = 0
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT position, stream, shard, seq, aggregate_key, version, event_type, payload FROM events"
                " ORDER BY position"
            )
        )
        for position, stream, shard, seq, key, version, event_type, payload in rows:
            count += 1
            seqs[stream][shard] += 1
            versions[stream, key] += 1
            assert (position, seq, version) == (count, seqs[stream][shard], versions[stream, key])
            if stream != "Rider":
                continue
            positions[key] = position
            data = decode(bytes(payload))
            if event_type == "GpsPing":
                identities[key, data["event_timestamp_ms"], data["event_id"]] += 1
            event = KeyedEvent(key, version, position, event_type, data)
            states[key] = SPEED.fold(states.get(key, SPEED.initial), event)
    engine.dispose()
    encoded = {key: SPEED.encode(state) for key, state in states.items()}
    return Account(count, identities, encoded, seqs["Rider"], positions, seqs["Delivery"])


def differing_riders(ridelog: Ridelog, account: Account) -> list[str]:
    """Riders whose state in Redis differs from the fold of their events, in any generation that is kept up to date."""
    engine, client = reader_engine(ridelog.info.postgres_url), connect_server(ridelog.info.redis_url)
    try:
        kept = [g.number for g in PostgresGenerations(engine).all("speed") if is_kept_up(g, SPEED)]
        assert kept
        return [
            f"{rider}@{number}"
            for number in kept
            for shard, riders in _by_shard(account).items()
            for rider, state in zip(riders, client.hmget(state_key("speed", number, shard), riders), strict=True)
            if state != account.states[rider]
        ]
    finally:
        client.close()
        engine.dispose()


def _by_shard(account: Account) -> dict[int, list[str]]:
    shards: dict[int, list[str]] = {}
    for rider in account.states:
        shards.setdefault(shard_of(rider), []).append(rider)
    return shards


def missing_in_kafka(
    ridelog: Ridelog, account: Account, since: Mapping[int, int], *, stream: str = "Rider"
) -> list[tuple[int, int]]:
    """(shard, seq) of events that are not on the topic. Raises AssertionError if a partition has them out of order.

    ``since``: shard -> the last seq that is not checked, because a broker may have lost older records with its log.
    """
    topic, seqs = ("gps-pings", account.seqs) if stream == "Rider" else ("deliveries", account.delivery_seqs)
    consumer = Consumer({"bootstrap.servers": ridelog.info.kafka_bootstrap, "group.id": "accounting"})
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(8)])
    wanted = {(shard, seq) for shard, last in seqs.items() for seq in range(since[shard] + 1, last + 1)}
    newest = dict(since)
    try:
        while wanted:
            messages = arrived(consumer, 3.0)
            if not messages:
                break
            for message in messages:
                assert message.error() is None, message.error()
                headers = dict(message.headers() or ())
                shard, seq = shard_of((message.key() or b"").decode()), int(headers["seq"] or b"")
                # A record may be repeated after a restart of the tailer, but never arrives before an earlier one.
                assert seq <= newest[shard] + 1
                newest[shard] = max(newest[shard], seq)
                wanted.discard((shard, seq))
    finally:
        consumer.close()
    return sorted(wanted)


def account_for(ridelog: Ridelog, acknowledged: set[Identity]) -> Account:
    """Wait until everything is folded, then check every acknowledged ping: none lost or duplicated, no wrong state.

    Checks every rider's bytes in Redis, the number of pings in Postgres in every generation that is kept up to date,
    and each rider's last event on the topic of locations.
    """
    account = read_log(ridelog)
    lost = [identity for identity in acknowledged if identity not in account.identities]
    double = [identity for identity, times in account.identities.items() if times > 1]
    assert (lost, double) == ([], [])
    eventually(
        lambda: not differing_riders(ridelog, account), within_s=90, every_s=0.2, what="every rider's state is right"
    )
    eventually(
        lambda: not analytics_off_by(ridelog, account), within_s=90, every_s=0.2, what="the analytics count every ping"
    )
    eventually(
        lambda: not wrong_locations(ridelog, account), within_s=90, every_s=1.0, what="the topic shows every location"
    )
    return account


def wrong_locations(ridelog: Ridelog, account: Account) -> list[str]:
    """Riders with a ping whose last event a reader of the topic rider-locations does not see."""
    shown = read_locations(ridelog.info.kafka_bootstrap, "rider-locations")
    with_pings = {rider for rider, _, _ in account.identities}
    return [
        rider
        for rider, position in account.positions.items()
        if rider in with_pings and (rider not in shown or shown[rider]["position"] != position)
    ]


def analytics_off_by(ridelog: Ridelog, account: Account) -> dict[str, int]:
    """By how much the number of pings in the analytics tables is wrong, by generation and table."""
    recorded = sum(account.identities.values())
    engine = reader_engine(ridelog.info.postgres_url)
    off: dict[str, int] = {}
    try:
        kept = [g.number for g in PostgresGenerations(engine).all("analytics") if is_kept_up(g, ANALYTICS)]
        assert kept
        with engine.connect() as connection:
            for number in kept:
                for table in ("rider_hours", "fleet_minutes"):
                    query = text(f"SELECT coalesce(sum(pings), 0) FROM {table} WHERE generation = :g")
                    counted = int(connection.execute(query, {"g": number}).scalar_one())
                    if counted != recorded:
                        off[f"{table}@{number}"] = counted - recorded
    finally:
        engine.dispose()
    return off
