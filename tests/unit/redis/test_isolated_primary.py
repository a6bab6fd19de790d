"""A primary of a cluster that is cut off from its peers, but not from clients, after its replica's promotion."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import hiredis
import pytest
import redis

from infrastructure.redis.cluster_async import AsyncClusterClient
from infrastructure.redis.cluster_client import ClusterClient
from infrastructure.redis.cluster_reads import ClusterReads
from infrastructure.redis.connection import connect, connect_async

MAX_WAIT_S: Final = 30.0
HOST: Final = "127.0.0.1"


class ClusterNode:
    """A node that answers CLUSTER SLOTS with its map, and a read with its value, or CLUSTERDOWN without one."""

    def __init__(self, value: bytes | None) -> None:
        self._value = value
        self._server: asyncio.Server | None = None
        self.port = 0
        self.slots = b"*0\r\n"
        self.connections = 0
        self.is_left = asyncio.Event()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()

    def follows(self, primary: ClusterNode, *replicas: ClusterNode) -> None:
        """It says that ``primary`` serves all slots."""
        nodes = b"".join(
            b"*3\r\n$9\r\n%s\r\n:%d\r\n$2\r\nid\r\n" % (HOST.encode(), node.port) for node in (primary, *replicas)
        )
        self.slots = b"*1\r\n*%d\r\n:0\r\n:16383\r\n" % (3 + len(replicas)) + nodes

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.is_left.clear()
        commands = hiredis.Reader()
        try:
            while data := await reader.read(4_096):
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    writer.write(self._answer([word.upper() for word in command]))
        except ConnectionResetError:
            """The client has aborted the connection: the same as its end."""
        finally:
            writer.close()
            self.connections -= 1
            if not self.connections:
                self.is_left.set()

    def _answer(self, command: list[bytes]) -> bytes:
        if command[:2] == [b"CLUSTER", b"SLOTS"]:
            return self.slots
        if command[0] == b"PING":
            return b"+PONG\r\n"
        if command[0] == b"HELLO":
            return b"%1\r\n$5\r\nproto\r\n:3\r\n"
        if command[0] != b"GET":
            return b"+OK\r\n"
        if self._value is None:
            return b"-CLUSTERDOWN The cluster is down\r\n"
        return b"$%d\r\n%s\r\n" % (len(self._value), self._value)


@asynccontextmanager
async def isolated_and_promoted() -> AsyncIterator[tuple[ClusterNode, ClusterNode]]:
    """The isolated primary, whose address sorts first, and the replica that was promoted."""
    nodes = [ClusterNode(None), ClusterNode(None)]
    for node in nodes:
        await node.start()
    isolated, promoted = sorted(nodes, key=lambda node: node.port)
    promoted._value = b"value"
    isolated.follows(isolated, promoted)
    promoted.follows(promoted)
    try:
        yield isolated, promoted
    finally:
        for node in nodes:
            await node.stop()


Reads = Callable[[AsyncClusterClient, ClusterReads], Awaitable[object]]


async def read_single(_client: AsyncClusterClient, reads: ClusterReads) -> object:
    return await reads.execute("GET", "anna")


async def read_in_pipelines(client: AsyncClusterClient, _reads: ClusterReads) -> object:
    with pytest.raises(redis.exceptions.ClusterDownError):
        await client.pipeline(transaction=False).get("anna").execute()
    return (await client.pipeline(transaction=False).get("anna").execute())[0]


@pytest.mark.parametrize("read", [read_single, read_in_pipelines])
def test_a_read_goes_to_the_promoted_node(read: Reads) -> None:
    """Given a map that names the isolated node, when it answers CLUSTERDOWN, then another node gives the map.

    The connections to the isolated node are closed: it has left the cluster.
    """

    async def in_a_loop() -> None:
        async with isolated_and_promoted() as (isolated, promoted), asyncio.timeout(MAX_WAIT_S):
            client = connect_async(f"redis+cluster://{HOST}:{isolated.port},{HOST}:{promoted.port}")
            assert isinstance(client, AsyncClusterClient)
            reads = ClusterReads(client)
            try:
                assert (await client.refresh()).owner(0).port == isolated.port
                assert await read(client, reads) == b"value"
                await isolated.is_left.wait()
                assert await client.ping()
                assert isolated.connections == 0
            finally:
                await reads.aclose()
                await client.aclose()

    asyncio.run(in_a_loop())


def test_a_command_of_a_worker_goes_to_the_promoted_node() -> None:
    async def in_a_loop() -> None:
        async with isolated_and_promoted() as (isolated, promoted), asyncio.timeout(MAX_WAIT_S):
            client = connect(f"redis+cluster://{HOST}:{isolated.port},{HOST}:{promoted.port}")
            assert isinstance(client, ClusterClient)
            found = await asyncio.to_thread(read_twice, client)
            assert found == b"value"

    asyncio.run(in_a_loop())


def read_twice(client: ClusterClient) -> object:
    try:
        with client.pipeline(transaction=False) as first:
            first.get("anna")
            with pytest.raises(redis.exceptions.ClusterDownError):
                first.execute()
        with client.pipeline(transaction=False) as second:
            second.get("anna")
            return second.execute()[0]
    finally:
        client.close()
