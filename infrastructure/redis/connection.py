"""Opens clients of Redis, and checks that the server never evicts state (invariant 13)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from infrastructure.redis.cluster_async import AsyncClusterClient
from infrastructure.redis.cluster_client import ClusterClient
from infrastructure.redis.cluster_slots import WrongRedisMode
from infrastructure.settings.redis_address import cluster_address, is_cluster_url
from projections.core.ports import PortUnavailable, SinkRejected

MAX_CONNECTIONS = 50

RedisClient = redis.Redis | ClusterClient
"""A client of one server or of a cluster, with what sinks and readers use of it."""
AsyncRedisClient = redis.asyncio.Redis | AsyncClusterClient


class EvictingRedis(Exception):
    """The server may evict state (invariant 13)."""


def connect(url: str) -> RedisClient:
    """A client of the server or cluster. No connection is made yet."""
    if is_cluster_url(url):
        return ClusterClient(cluster_address(url), connect_server)
    return connect_server(url)


def connect_async(url: str) -> AsyncRedisClient:
    """As ``connect``, with at most MAX_CONNECTIONS to a server: who finds none free waits for one (invariant 15)."""
    if is_cluster_url(url):
        return AsyncClusterClient(cluster_address(url), connect_server_async)
    return connect_server_async(url)


def drop_connections(client: RedisClient) -> None:
    """Close the pooled connections; the next command connects again."""
    if isinstance(client, ClusterClient):
        client.disconnect()
    else:
        client.connection_pool.disconnect()


def check_never_evicts(client: RedisClient) -> None:
    """Raises EvictingRedis unless maxmemory-policy is noeviction. INFO works where CONFIG is forbidden.

    Of a cluster each primary is checked, and each replica that answers, since it may be promoted.

    Raises:
        WrongRedisMode: one of server and URL is a cluster and the other is not.
        PortUnavailable: the server, or a primary, is unavailable.
    """
    with unavailable_as_port_error():
        if isinstance(client, ClusterClient):
            slots = client.refresh()
            for address in sorted(slots.primaries):
                _check_server(client.node(address), f"Redis at {address}")
            for address in sorted(slots.replicas):
                try:
                    _check_server(client.node(address), f"Redis at {address}")
                except (redis.ConnectionError, redis.TimeoutError):
                    continue
        else:
            check_is_no_node(client)
            _check_server(client, "Redis")


def check_is_no_node(client: redis.Redis) -> None:
    """Raises WrongRedisMode if the server is a node of a cluster, which serves a part of the keys only."""
    if client.info("cluster").get("cluster_enabled"):
        raise WrongRedisMode("this Redis is a node of a cluster: write redis+cluster://host:port,host:port")


def connect_server(url: str) -> redis.Redis:
    """A client of one server. No connection is made yet."""
    return redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0))


def connect_server_async(url: str) -> redis.asyncio.Redis:
    """A client of one server, for one event loop. No connection is made yet."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url, max_connections=MAX_CONNECTIONS, timeout=5, socket_timeout=5, socket_connect_timeout=5
    )
    return redis.asyncio.Redis.from_pool(pool)


def _check_server(client: redis.Redis, name: str) -> None:
    policy = client.info("memory").get("maxmemory_policy")
    if policy != "noeviction":
        raise EvictingRedis(
            f"{name} has maxmemory-policy {policy!r} and may evict state that projections rely on: "
            "set `maxmemory-policy noeviction`"
        )


_TRANSIENT = ("MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")
"""Errors of a server that rejects writes for now: its disk is full, or its replicas or its master are unavailable."""


_REJECTED = ("WRONGTYPE", "REJECTED")
"""Errors of stored or written data: of the server, and of ``apply.lua`` for a sum that cannot be stored."""


@contextmanager
def unavailable_as_port_error() -> Iterator[None]:
    """Converts errors of the connection or the server to PortUnavailable.

    A server without free memory is one of them: an operator must enlarge it, and no key is at fault. So is a cluster
    that has lost a primary, or that moves a slot. Raises SinkRejected for a key that has a value of another type, and
    for what a script of this project rejects: that is permanent, and the server is healthy.
    """
    try:
        yield
    except (
        redis.ConnectionError,
        redis.TimeoutError,
        redis.exceptions.ReadOnlyError,
        redis.exceptions.OutOfMemoryError,
        # redis-py takes the code, by which ``_TRANSIENT`` would find them, out of the messages of these.
        redis.exceptions.ClusterDownError,
        redis.exceptions.TryAgainError,
    ) as error:
        raise PortUnavailable(f"Redis: {error}") from error
    except redis.ResponseError as error:
        # In a pipeline the client puts the command before the server's message.
        answer = str(error).rpartition(" of pipeline caused error: ")[2]
        if answer.startswith(_REJECTED):
            raise SinkRejected(f"Redis: {error}") from error
        if not answer.startswith(_TRANSIENT):
            raise
        raise PortUnavailable(f"Redis: {error}") from error
