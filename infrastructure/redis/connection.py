"""Opens clients of Redis, and checks that the server never evicts state (invariant 13)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from projections.core.ports import PortUnavailable, SinkRejected

MAX_CONNECTIONS = 50


class EvictingRedis(Exception):
    """The server may evict state (invariant 13)."""


def connect(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0))


def connect_async(url: str) -> redis.asyncio.Redis:
    """Opens at most MAX_CONNECTIONS. A request that finds no free connection waits for one (invariant 15)."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url, max_connections=MAX_CONNECTIONS, timeout=5, socket_timeout=5, socket_connect_timeout=5
    )
    return redis.asyncio.Redis.from_pool(pool)


def check_never_evicts(client: redis.Redis) -> None:
    """Raises EvictingRedis unless maxmemory-policy is noeviction. INFO works where CONFIG is forbidden."""
    with unavailable_as_port_error():
        policy = client.info("memory").get("maxmemory_policy")
    if policy != "noeviction":
        raise EvictingRedis(
            f"Redis has maxmemory-policy {policy!r} and may evict state that projections rely on: "
            "set `maxmemory-policy noeviction`"
        )


_TRANSIENT = ("MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")
"""Errors of a server that rejects writes for now: its disk is full, or its replicas or its master are unavailable."""


_REJECTED = ("WRONGTYPE", "REJECTED")
"""Errors of stored or written data: of the server, and of ``apply.lua`` for a sum that cannot be stored."""


@contextmanager
def unavailable_as_port_error() -> Iterator[None]:
    """Converts errors of the connection or the server to PortUnavailable.

    A server without free memory is one of them: an operator must enlarge it, and no key is at fault. Raises
    SinkRejected for a key that has a value of another type, and for what a script of this project rejects: that is
    permanent, and the server is healthy.
    """
    try:
        yield
    except (
        redis.ConnectionError,
        redis.TimeoutError,
        redis.exceptions.ReadOnlyError,
        redis.exceptions.OutOfMemoryError,
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
