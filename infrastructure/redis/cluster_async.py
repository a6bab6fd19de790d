"""The client of a Redis Cluster for an event loop, with the part of redis-py's client that this project uses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

import redis
import redis.asyncio

from infrastructure.redis.cluster_slots import (
    MAX_REDIRECTS,
    SlotMap,
    WrongRedisMode,
    one_slot,
    parse_cluster_slots,
    slot_of,
)
from infrastructure.settings.redis_address import ClusterAddress, NodeAddress

REFRESH_INTERVAL_S = 0.5
"""After a failed read the map of slots is asked for at most so often: while a primary is down, every read fails."""


class AsyncClusterClient:
    """All nodes of one cluster, for one event loop. No connection is made before the first command."""

    def __init__(self, address: ClusterAddress, connect_node: Callable[[str], redis.asyncio.Redis]) -> None:
        """``connect_node``: makes the client of one node, by its URL."""
        self._address = address
        self._connect_node = connect_node
        self._nodes: dict[NodeAddress, redis.asyncio.Redis] = {}
        self._map: SlotMap | None = None
        self._refreshing: asyncio.Task[SlotMap] | None = None
        self._failed_at = -REFRESH_INTERVAL_S
        self._failed: NodeAddress | None = None
        """The node of the last failure: cut off from its peers, it may still give its old map to clients."""
        self._on_departed: list[Callable[[NodeAddress], Awaitable[None]]] = []

    def on_departed(self, close: Callable[[NodeAddress], Awaitable[None]]) -> None:
        """Have ``close`` called for each node that has left the cluster, before its client is closed."""
        self._on_departed.append(close)

    def node(self, address: NodeAddress) -> redis.asyncio.Redis:
        """The client of one node."""
        if address not in self._nodes:
            self._nodes[address] = self._connect_node(self._address.url_of(address))
        return self._nodes[address]

    async def owner(self, slot: int) -> NodeAddress:
        """The node that serves the slot, as last heard. Raises as ``refresh``; ConnectionError also without a node."""
        slots = self._map or await self.refresh()
        try:
            return slots.owner(slot)
        except redis.ConnectionError:
            return (await self.refresh_after_failure()).owner(slot)

    async def refresh(self) -> SlotMap:
        """Ask the nodes, one after another, until one gives the map of slots. Callers at the same time share one try.

        Raises:
            redis.ConnectionError, redis.TimeoutError: no node answers.
            WrongRedisMode: the server is no cluster.
        """
        if self._refreshing is None:
            self._refreshing = asyncio.ensure_future(self._refresh())
        return await asyncio.shield(self._refreshing)

    async def refresh_after_failure(self, failed: NodeAddress | None = None) -> SlotMap:
        """``refresh``, at most once in REFRESH_INTERVAL_S; else what was last heard. Raises as ``refresh``.

        ``failed``: the node that did not answer, or that answered CLUSTERDOWN. It is asked last.
        """
        self._failed = failed or self._failed
        now = asyncio.get_running_loop().time()
        if self._map is not None and self._refreshing is None and now - self._failed_at < REFRESH_INTERVAL_S:
            return self._map
        self._failed_at = now
        return await self.refresh()

    def pipeline(self, transaction: bool = True) -> AsyncClusterPipeline:
        """Reads that are sent together. ``transaction``: at one instant; their keys must have the same hash tag."""
        return AsyncClusterPipeline(self, transaction)

    async def ping(self) -> bool:
        """Whether every slot has a primary that answers. Raises redis.ConnectionError, redis.TimeoutError otherwise."""
        slots = await self.refresh()
        if slots.uncovered:
            raise redis.ConnectionError(f"{slots.uncovered} slots of the cluster have no primary")
        return all(await asyncio.gather(*(_ping(self.node(address)) for address in slots.primaries)))

    async def aclose(self) -> None:
        """Close all connections."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        for node in self._nodes.values():
            await node.aclose()

    async def _refresh(self) -> SlotMap:
        before = self._map
        known = [] if before is None else [*sorted(before.primaries), *sorted(before.replicas)]
        failure: Exception | None = None
        every = dict.fromkeys([*known, *self._address.nodes])
        try:
            for address in sorted(every, key=lambda address: address == self._failed):
                try:
                    node: Any = self.node(address)
                    answer = await node.execute_command("CLUSTER SLOTS")
                    self._map = parse_cluster_slots(answer, address)
                    await self._close_departed(self._map)
                    return self._map
                except (redis.ConnectionError, redis.TimeoutError) as error:
                    failure = error
                except redis.ResponseError as error:
                    if "cluster support disabled" not in str(error):
                        raise
                    raise WrongRedisMode(f"Redis at {address} is no cluster") from error
            assert failure is not None
            raise failure
        finally:
            self._refreshing = None

    async def _close_departed(self, slots: SlotMap) -> None:
        """Close the clients of nodes that have left the cluster: each failover would leave connections open."""
        for address in self._nodes.keys() - slots.primaries - slots.replicas:
            node = self._nodes.pop(address)
            for close in self._on_departed:
                await close(address)
            await node.aclose()


class AsyncClusterPipeline:
    """Reads that are queued, and sent by ``execute``. Those of one node are run in their order."""

    def __init__(self, client: AsyncClusterClient, transaction: bool) -> None:
        self._client = client
        self._transaction = transaction
        self._queued: list[tuple[str, ...]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._queued = []

    def get(self, name: str) -> Self:
        self._queued.append(("GET", name))
        return self

    def hmget(self, name: str, *keys: str) -> Self:
        self._queued.append(("HMGET", name, *keys))
        return self

    async def execute(self) -> list[Any]:
        """Returns the answers in the order of the reads. Reads them again if the cluster has moved a slot.

        Raises:
            redis.ConnectionError, redis.TimeoutError: a node does not answer.
            redis.ResponseError: a node rejects a read, also with CLUSTERDOWN.
            CrossSlotCommand: a transaction over several slots.
        """
        queued, self._queued = self._queued, []
        slots_of = [slot_of(command[1]) for command in queued]
        if self._transaction:
            one_slot(set(slots_of), "a transaction")
        for _ in range(MAX_REDIRECTS + 1):
            places: dict[NodeAddress, list[int]] = {}
            for place, slot in enumerate(slots_of):
                places.setdefault(await self._client.owner(slot), []).append(place)
            answers: list[Any] = [None] * len(queued)
            asked: NodeAddress | None = None
            try:
                for address, here in places.items():
                    asked = address
                    async with self._client.node(address).pipeline(transaction=self._transaction) as pipeline:
                        for place in here:
                            pipeline.execute_command(*queued[place])
                        for place, answer in zip(here, await pipeline.execute(), strict=True):
                            answers[place] = answer
                return answers
            except redis.exceptions.MovedError:
                await self._client.refresh()
            except redis.exceptions.AskError as error:
                raise redis.ConnectionError(f"a slot is moving to another node: {error}") from error
            except (redis.ConnectionError, redis.TimeoutError, redis.exceptions.ClusterDownError):
                await self._client.refresh_after_failure(asked)
                raise
        raise redis.ConnectionError(f"the cluster has sent a read on more than {MAX_REDIRECTS} times")


async def _ping(node: Any) -> bool:
    return bool(await node.ping())
