"""Reads of an event loop from a Redis Cluster: each goes over the one connection to the node that serves its key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import redis

from infrastructure.redis.cluster_async import AsyncClusterClient
from infrastructure.redis.cluster_slots import MAX_REDIRECTS, is_cluster_down, redirect_of, slot_of
from infrastructure.redis.connection import AsyncRedisClient
from infrastructure.redis.pipelined_reads import KeyReads, PipelinedReads
from infrastructure.settings.redis_address import NodeAddress


def key_reads(client: AsyncRedisClient) -> KeyReads:
    """The single reads of an event loop, over one connection to each server of the client."""
    return ClusterReads(client) if isinstance(client, AsyncClusterClient) else PipelinedReads(client)


class ClusterReads:
    """Single reads of one event loop, as ``PipelinedReads`` sends them, with such a connection to each node."""

    def __init__(self, client: AsyncClusterClient) -> None:
        self._client = client
        self._lines: dict[NodeAddress, PipelinedReads] = {}
        client.on_departed(self._close_line)

    async def execute(self, *command: str) -> Any:
        """The answer to one command, whose key is its second word. Follows the cluster to another node.

        Raises:
            redis.ConnectionError, redis.TimeoutError: the node is unavailable, and no other serves the key yet.
            redis.ResponseError: the node rejects the command, also with CLUSTERDOWN if no other serves the key yet.
        """
        slot = slot_of(command[1])
        address = await self._client.owner(slot)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                return await self._line(address).execute(*command)
            except redis.ResponseError as error:
                if is_cluster_down(error):
                    # It is cut off from its peers, and its replica may have been promoted.
                    address = await self._other_owner(slot, address, error)
                    continue
                redirect = redirect_of(error, address)
                if redirect is None:
                    raise
                if redirect.asks:
                    return await self._ask(redirect.node, command)
                address = (await self._client.refresh()).owner(slot)
            except (redis.ConnectionError, redis.TimeoutError) as error:
                # Its replica may have been promoted.
                address = await self._other_owner(slot, address, error)
        raise redis.ConnectionError(f"the cluster has sent a read on more than {MAX_REDIRECTS} times")

    async def execute_all(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """The answers to many commands, in their order; an exception that ``execute`` raises is an answer here."""
        return await asyncio.gather(*(self.execute(*command) for command in commands), return_exceptions=True)

    async def aclose(self) -> None:
        """Close the connections of the reads. The client remains open."""
        for line in self._lines.values():
            await line.aclose()

    async def _other_owner(self, slot: int, failed: NodeAddress, error: redis.RedisError) -> NodeAddress:
        """The node that serves the slot instead of the failed one. Raises ``error`` if it is still that one."""
        owner = (await self._client.refresh_after_failure(failed)).owner(slot)
        if owner == failed:
            raise error
        return owner

    async def _close_line(self, departed: NodeAddress) -> None:
        line = self._lines.pop(departed, None)
        if line is not None:
            await line.aclose()

    def _line(self, address: NodeAddress) -> PipelinedReads:
        line = self._lines.get(address)
        if line is None:
            line = self._lines[address] = PipelinedReads(self._client.node(address))
        return line

    async def _ask(self, address: NodeAddress, command: tuple[str, ...]) -> Any:
        """The answer of the node to which the key has moved already, before its slot has."""
        async with self._client.node(address).pipeline(transaction=False) as pipeline:
            pipeline.execute_command("ASKING")
            pipeline.execute_command(*command)
            return (await pipeline.execute())[1]
