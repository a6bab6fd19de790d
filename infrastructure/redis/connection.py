"""Clients of Redis, and the one thing that must be true of a server before state is trusted to it."""

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
    """The server may throw state away on its own (invariant 13)."""


def connect(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0))


def connect_async(url: str) -> redis.asyncio.Redis:
    """At most MAX_CONNECTIONS; a request that finds none free waits for one (invariant 15)."""
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


_PASSING = ("MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")
"""Answers of a server that takes no writes for now: its disk is full, or its replicas or its master are away."""


@contextmanager
def unavailable_as_port_error() -> Iterator[None]:
    """Errors after which the connection, and all that was read through it, is worth nothing.

    Refused for a key that holds another type of value: the server is well, and waiting does not change the key.

    A server that is full is one of them: it is somebody's to enlarge, and no key's fault.
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
        # In a pipeline the client puts the command before the server's words.
        answer = str(error).rpartition(" of pipeline caused error: ")[2]
        if answer.startswith("WRONGTYPE"):
            raise SinkRejected(f"Redis: {error}") from error
        if not answer.startswith(_PASSING):
            raise
        raise PortUnavailable(f"Redis: {error}") from error
