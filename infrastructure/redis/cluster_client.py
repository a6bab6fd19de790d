"""The synchronous client of a Redis Cluster, with the part of redis-py's client that this project uses.

redis-py's ``RedisCluster`` connects in its constructor, sends a write again after a lost answer, so that a
compare-and-set that was applied looks like a conflict, and loads no scripts in pipelines. This client sends a command
again only if a node has said that it did not run it. Its nodes are clients of redis-py.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis

from infrastructure.redis.cluster_pipeline import ClusterPipeline, ClusterScript, QueuedCommand
from infrastructure.redis.cluster_slots import (
    MAX_REDIRECTS,
    Redirect,
    SlotMap,
    WrongRedisMode,
    one_slot,
    parse_cluster_slots,
    redirect_of,
    slot_of_command,
)
from infrastructure.settings.redis_address import ClusterAddress, NodeAddress


class ClusterClient:
    """All nodes of one cluster. No connection is made before the first command. May be used by many threads."""

    def __init__(self, address: ClusterAddress, connect_node: Callable[[str], redis.Redis]) -> None:
        """``connect_node``: makes the client of one node, by its URL."""
        self._address = address
        self._connect_node = connect_node
        self._lock = threading.Lock()
        self._nodes: dict[NodeAddress, redis.Redis] = {}
        self._map: SlotMap | None = None
        self._is_current = False
        self._failed: NodeAddress | None = None
        """The node of the last failure: cut off from its peers, it may still give its old map. It is asked last."""

    def pipeline(self, transaction: bool = True) -> ClusterPipeline:
        """Commands that are sent together. ``transaction``: as one MULTI, whose keys must have the same hash tag."""
        return ClusterPipeline(self, transaction)

    def register_script(self, script: str) -> ClusterScript:
        return ClusterScript(self, script)

    def ping(self) -> bool:
        """Whether every slot has a primary that answers. Raises redis.ConnectionError, redis.TimeoutError otherwise."""
        slots = self.refresh()
        if slots.uncovered:
            raise redis.ConnectionError(f"{slots.uncovered} slots of the cluster have no primary")
        return all(self.node(address).ping() for address in slots.primaries)

    def close(self) -> None:
        """Close all connections."""
        self.disconnect()

    def disconnect(self) -> None:
        """Close the pooled connections, and ask for the map of slots at the next command."""
        self._is_current = False
        with self._lock:
            nodes = list(self._nodes.values())
        for node in nodes:
            node.connection_pool.disconnect()

    def node(self, address: NodeAddress) -> redis.Redis:
        """The client of one node."""
        with self._lock:
            if address not in self._nodes:
                self._nodes[address] = self._connect_node(self._address.url_of(address))
            return self._nodes[address]

    def slots(self) -> SlotMap:
        """Which node serves which slot, as last heard. Raises as ``refresh``."""
        found = self._map
        return found if found is not None and self._is_current else self.refresh()

    def refresh(self) -> SlotMap:
        """Ask the nodes, one after another, until one gives the map of slots.

        Raises:
            redis.ConnectionError, redis.TimeoutError: no node answers.
            WrongRedisMode: the server is no cluster.
        """
        before = self._map
        known = [] if before is None else random.sample(sorted(before.primaries), len(before.primaries))
        replicas = [] if before is None else sorted(before.replicas)
        every = dict.fromkeys([*known, *replicas, *self._address.nodes])
        failure: Exception | None = None
        for address in sorted(every, key=lambda address: address == self._failed):
            node: Any = self.node(address)
            try:
                found = parse_cluster_slots(node.execute_command("CLUSTER SLOTS"), address)
            except (redis.ConnectionError, redis.TimeoutError) as error:
                failure = error
                continue
            except redis.ResponseError as error:
                if "cluster support disabled" in str(error):
                    raise WrongRedisMode(
                        f"Redis at {address} is no cluster: write redis:// in place of redis+cluster://"
                    ) from error
                raise
            # A map with gaps is asked for again: a replica may be promoted at any time.
            self._map, self._is_current = found, not found.uncovered
            with self._lock:
                for gone in self._nodes.keys() - found.primaries - found.replicas:
                    del self._nodes[gone]
            return found
        assert failure is not None
        raise failure

    def run(self, commands: Sequence[QueuedCommand]) -> list[Any]:
        """The answer to each command; an error of the server is an answer.

        Commands of one node go out in one write, and all nodes work at the same time. Commands of different slots are
        independent of each other: what one node ran stays, if another one does not answer.

        Raises:
            redis.ConnectionError, redis.TimeoutError: a node does not answer, or the nodes disagree.
            CrossSlotCommand: a command has keys in several slots; nothing was sent.
        """
        slots_of = [slot_of_command(command.words) for command in commands]
        answers: list[Any] = [None] * len(commands)
        waiting: Mapping[int, Redirect | None] = dict.fromkeys(range(len(commands)))
        for _ in range(MAX_REDIRECTS + 1):
            batches = self._by_node(waiting, slots_of)
            waiting = self._exchange(commands, batches, answers)
            if not waiting:
                return answers
        raise redis.ConnectionError(f"the cluster has sent a command on more than {MAX_REDIRECTS} times")

    def run_transaction(self, commands: Sequence[QueuedCommand]) -> list[Any]:
        """The answers to commands that one node runs at one instant. Raises as ``run``, and redis.ResponseError."""
        slot = one_slot({slot_of_command(command.words) for command in commands}, "a transaction")
        for _ in range(MAX_REDIRECTS + 1):
            owner = self.slots().owner(slot)
            node: Any = self.node(owner)
            try:
                with node.pipeline(transaction=True) as pipeline:
                    for command in commands:
                        pipeline.execute_command(*command.words)
                    return list(pipeline.execute())
            except redis.exceptions.MovedError:
                self._is_current = False
            except redis.exceptions.AskError as error:
                raise redis.ConnectionError(f"slot {slot} is moving to another node") from error
            except (redis.ConnectionError, redis.TimeoutError, redis.exceptions.ClusterDownError):
                self._is_current, self._failed = False, owner
                raise
        raise redis.ConnectionError(f"the cluster has sent a transaction on more than {MAX_REDIRECTS} times")

    def _by_node(
        self, waiting: Mapping[int, Redirect | None], slots_of: Sequence[int]
    ) -> dict[NodeAddress, dict[int, Redirect | None]]:
        slots = self.slots()
        batches: dict[NodeAddress, dict[int, Redirect | None]] = {}
        for place, redirect in waiting.items():
            address = slots.owner(slots_of[place]) if redirect is None else redirect.node
            batches.setdefault(address, {})[place] = redirect
        return batches

    def _exchange(
        self,
        commands: Sequence[QueuedCommand],
        batches: Mapping[NodeAddress, Mapping[int, Redirect | None]],
        answers: list[Any],
    ) -> dict[int, Redirect | None]:
        """Send every batch, then read every answer into ``answers``. Returns the commands that were not run."""
        opened: list[tuple[NodeAddress, Any, Any]] = []
        again: dict[int, Redirect | None] = {}
        read = 0
        try:
            for address, places in batches.items():
                node = self.node(address)
                connection: Any = node.connection_pool.get_connection()
                opened.append((address, node, connection))
                words: list[tuple[Any, ...]] = []
                for place, redirect in places.items():
                    words += [("ASKING",)] if redirect is not None and redirect.asks else []
                    words.append(commands[place].words)
                connection.send_packed_command(connection.pack_commands(words))
            for address, node, connection in opened:
                for place, redirect in batches[address].items():
                    if redirect is not None and redirect.asks:
                        node.parse_response(connection, "ASKING")
                    try:
                        answers[place] = node.parse_response(connection, commands[place].words[0])
                    except redis.ResponseError as error:
                        answers[place] = error
                read += 1
        except (redis.ConnectionError, redis.TimeoutError):
            # The node may have failed: its replica serves the slots from now on.
            self._is_current, self._failed = False, address
            raise
        finally:
            for number, (_, node, connection) in enumerate(opened):
                if number >= read:
                    connection.disconnect()  # its unread answers would be taken for those of the next command
                node.connection_pool.release(connection)
        for address, places in batches.items():
            for place, redirect in places.items():
                answer = answers[place]
                if isinstance(answer, redis.exceptions.NoScriptError) and commands[place].script:
                    self.node(address).script_load(commands[place].script)
                    again[place] = redirect
                elif isinstance(answer, redis.ResponseError) and (to := redirect_of(answer, address)) is not None:
                    self._is_current = self._is_current and to.asks
                    again[place] = to if to.asks else None
                elif isinstance(answer, redis.exceptions.ClusterDownError):
                    # The node is cut off from its peers: its replica may serve the slots from now on.
                    self._is_current, self._failed = False, address
        return again
