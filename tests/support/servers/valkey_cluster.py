"""A Redis Cluster of the embedded Valkey on loopback: three primaries with a replica each."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import redis

from infrastructure.embedded.server import free_port
from infrastructure.embedded.valkey import Valkey
from tests.support.waiting import eventually

PRIMARIES = 3
SLOTS = 16_384
QUIET_NODE_TIMEOUT_MS = 15_000
"""Long enough that a busy machine promotes no replica by itself."""


class ValkeyNode(Valkey):
    """One node. It listens on a port of its own with the password of the cluster."""

    def __init__(self, data_dir: Path, number: int, password: str) -> None:
        super().__init__(data_dir)
        self.name = f"redis-{number}"
        self.log_path = data_dir / "logs" / f"{self.name}.log"
        self.home = data_dir / self.name
        self.port = self._port = free_port()
        self.bus_port = free_port()
        self._password = password

    def client(self) -> redis.Redis:
        """A client of this node alone; the caller closes it."""
        return redis.Redis.from_url(self.url, socket_timeout=5.0)

    def command(self, *words: str | int) -> str:
        """The answer of this node to one command, as text."""
        with closing(self.client()) as client:
            connection: Any = client.connection_pool.get_connection()
            try:
                connection.send_command(*words)
                answer = connection.read_response()
            finally:
                client.connection_pool.release(connection)
        return answer.decode() if isinstance(answer, bytes) else str(answer)

    def first_key_of(self, slot: int) -> str:
        """A key of the slot that the node has; "" if there is none."""
        client: Any = self.client()
        with closing(client):
            found = client.execute_command("CLUSTER GETKEYSINSLOT", slot, 1)
        key = found[0] if found else ""
        return key.decode() if isinstance(key, bytes) else str(key)

    def stored(self, key: str) -> bytes | None:
        """What the node itself has at ``key``, as primary or as replica."""
        client: Any = redis.Redis.from_url(self.url, single_connection_client=True)
        with closing(client):
            client.execute_command("READONLY")
            found = client.get(key)
        assert found is None or isinstance(found, bytes)
        return found

    def migrate(self, key: str, to: ValkeyNode) -> None:
        """Move one key, as a resharding does."""
        self.command("MIGRATE", "127.0.0.1", to.port, key, 0, 5_000, "AUTH", self._password or "")

    def is_primary(self) -> bool:
        """Whether the node takes writes, as it sees itself."""
        return "\r\nrole:master" in self.command("INFO", "replication")

    def has_live_primary(self) -> bool:
        """Whether the node is a replica that has the whole data of its primary and follows it."""
        return "\r\nmaster_link_status:up" in self.command("INFO", "replication")

    def knows(self, node_id: str) -> bool:
        """Whether the node has heard of another one."""
        return node_id in self.command("CLUSTER", "NODES")

    def _options(self) -> dict[str, str]:
        return super()._options() | {
            "masterauth": self._password or "",
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-port": str(self.bus_port),
            "cluster-node-timeout": str(QUIET_NODE_TIMEOUT_MS),
            "repl-diskless-sync-delay": "0",
            # As deploy.md advises: the shards of the other primaries are served while one is down.
            "cluster-require-full-coverage": "no",
        }


class ValkeyCluster:
    """Three primaries, each with a replica. ``url`` names all nodes, as RIDELOG_REDIS_URL does."""

    def __init__(self, data_dir: Path) -> None:
        self._password = "cluster-secret"
        self.nodes = [ValkeyNode(data_dir, number, self._password) for number in range(2 * PRIMARIES)]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"redis+cluster://:{self._password}@{hosts}"

    def start(self) -> None:
        """Start the nodes, and join them at the first start."""
        if all(node.is_alive() for node in self.nodes):
            return
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.wait_ready()
        if len(self.nodes[0].command("CLUSTER", "NODES").splitlines()) == 1:
            self._join()
        eventually(self.is_whole, within_s=60, what="every slot has a primary and every replica its data")

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def is_whole(self) -> bool:
        """Whether all nodes agree that every slot is served, and each replica follows its primary."""
        return all(
            "cluster_state:ok" in node.command("CLUSTER", "INFO")
            and f"cluster_known_nodes:{len(self.nodes)}" in node.command("CLUSTER", "INFO")
            and (node.is_primary() or node.has_live_primary())
            for node in self.nodes
        )

    def flush(self) -> None:
        """Delete all keys of all primaries."""
        for node in self.nodes:
            if node.is_primary():
                node.command("FLUSHALL", "SYNC")

    def keys(self) -> list[object]:
        """The keys of all primaries."""
        found: list[object] = []
        for node in self.nodes:
            if node.is_primary():
                with closing(node.client()) as client:
                    found += client.keys()
        return found

    def primary_of(self, key: str) -> ValkeyNode:
        """The node that serves ``key``, as the first running node says."""
        return self._serving(self._slot(key))

    def replica_of(self, primary: ValkeyNode) -> ValkeyNode:
        """A node that follows ``primary``."""
        primary_id = primary.command("CLUSTER", "MYID")
        [found] = [node for node in self._running() if node is not primary and primary_id in _own_line(node)]
        return found

    def set_node_timeout(self, timeout_ms: int) -> None:
        """How long a node may be silent before its replica asks to be promoted."""
        for node in self._running():
            node.command("CONFIG", "SET", "cluster-node-timeout", timeout_ms)

    def _running(self) -> list[ValkeyNode]:
        return [node for node in self.nodes if node.is_alive()]

    def _slot(self, key: str) -> int:
        return int(self._running()[0].command("CLUSTER", "KEYSLOT", key))

    def _serving(self, slot: int) -> ValkeyNode:
        for line in self._running()[0].command("CLUSTER", "NODES").splitlines():
            (
                _,
                address,
                flags,
                *_,
            ) = line.split()
            ranges = [part.partition("-") for part in line.split()[8:] if not part.startswith("[")]
            if "master" in flags and any(int(low) <= slot <= int(high or low) for low, _, high in ranges):
                port = int(address.partition("@")[0].rpartition(":")[2])
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"no primary serves slot {slot}")

    def _join(self) -> None:
        primaries, replicas = self.nodes[:PRIMARIES], self.nodes[PRIMARIES:]
        for number, node in enumerate(primaries):
            low, high = SLOTS * number // PRIMARIES, SLOTS * (number + 1) // PRIMARIES - 1
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.command("CLUSTER", "ADDSLOTSRANGE", low, high)
        for node in self.nodes[1:]:
            self.nodes[0].command("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus_port)
        for primary, replica in zip(primaries, replicas, strict=True):
            primary_id = primary.command("CLUSTER", "MYID")
            # A node can follow another only once it has heard of it.
            eventually(partial(replica.knows, primary_id), what=f"{replica.name} has heard of {primary.name}")
            replica.command("CLUSTER", "REPLICATE", primary_id)


def _own_line(node: ValkeyNode) -> str:
    return next(line for line in node.command("CLUSTER", "NODES").splitlines() if "myself" in line)
