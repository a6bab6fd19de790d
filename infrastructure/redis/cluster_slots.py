"""Which node of a Redis Cluster serves which key, as ``CLUSTER SLOTS`` reports it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import redis
from redis.crc import key_slot

from infrastructure.settings.redis_address import NodeAddress

SLOTS = 16_384
MAX_REDIRECTS = 5
"""How often a command follows the cluster to another node. More mean that the nodes disagree."""


class WrongRedisMode(Exception):
    """The URL says that the server is a cluster and it is none, or the other way round."""


class CrossSlotCommand(Exception):
    """A command or transaction whose keys are in several slots: no node of a cluster runs it."""


class Redirect(NamedTuple):
    """The answer of a node that does not serve a slot. ``asks``: for this command alone, while the slot moves."""

    node: NodeAddress
    asks: bool


class SlotMap:
    """The primary of each slot, and all nodes. It is not changed: a newer one replaces it."""

    def __init__(self, owners: Sequence[NodeAddress | None], replicas: frozenset[NodeAddress] = frozenset()) -> None:
        self._owners = owners
        self.primaries = frozenset(node for node in owners if node is not None)
        self.replicas = replicas - self.primaries
        self.uncovered = sum(node is None for node in owners)
        """Slots that no primary serves."""

    def owner(self, slot: int) -> NodeAddress:
        """The primary of a slot. Raises redis.ConnectionError if the cluster has none for it."""
        node = self._owners[slot]
        if node is None:
            raise redis.ConnectionError(f"no primary of the cluster serves slot {slot}")
        return node


def parse_cluster_slots(answer: Any, asked: NodeAddress) -> SlotMap:
    """The map in the answer to CLUSTER SLOTS of the node ``asked``. Raises redis.ConnectionError for other answers."""
    owners: list[NodeAddress | None] = [None] * SLOTS
    replicas: set[NodeAddress] = set()
    try:
        for low, high, primary, *others in answer:
            node = _address(primary, asked)
            replicas.update(_address(other, asked) for other in others)
            if not 0 <= low <= high < SLOTS:
                raise ValueError(f"slots {low} to {high}")
            owners[low : high + 1] = [node] * (high + 1 - low)
    except (TypeError, ValueError, IndexError) as error:
        raise redis.ConnectionError(f"{asked} gives no map of the cluster's slots: {error}") from error
    return SlotMap(owners, frozenset(replicas))


def slot_of(key: str | bytes) -> int:
    """The slot of a key, by its hash tag if it has one."""
    return key_slot(key.encode() if isinstance(key, str) else key)


def slot_of_command(command: Sequence[Any]) -> int:
    """The one slot of a command's keys. Raises CrossSlotCommand if there are several.

    The commands of this project name their key first, or are scripts, or UNLINK and DEL, which take any number of keys.
    """
    name = command[0]
    if name in {"EVAL", "EVALSHA"}:
        keys = command[3 : 3 + int(command[2])]
    else:
        keys = command[1:] if name in {"UNLINK", "DEL"} else command[1:2]
    return one_slot({slot_of(key) for key in keys}, f"{name} {keys[0]}")


def one_slot(slots: set[int], what: str) -> int:
    """The only one of ``slots``. Raises CrossSlotCommand, with ``what`` in its message."""
    if len(slots) != 1:
        raise CrossSlotCommand(
            f"{what} … has keys in {len(slots)} slots of a Redis Cluster; one command may touch one shard of one "
            "projection, whose keys have the same hash tag"
        )
    return next(iter(slots))


def redirect_of(error: redis.ResponseError, asked: NodeAddress) -> Redirect | None:
    """Where an error of the node ``asked`` sends the command; None for another error."""
    if isinstance(error, redis.exceptions.AskError):
        kind, where = ("MOVED" if isinstance(error, redis.exceptions.MovedError) else "ASK"), error.message.split()[-1]
    else:
        words = str(error).split()
        if len(words) != 3 or words[0] not in {"MOVED", "ASK"}:
            return None
        kind, where = words[0], words[-1]
    host, _, port = where.rpartition(":")
    return Redirect(NodeAddress(host or asked.host, int(port)), kind == "ASK")


def is_cluster_down(error: redis.ResponseError) -> bool:
    """Whether a node says that it cannot serve the slot: it has lost its peers, which may serve the slot by now."""
    return isinstance(error, redis.exceptions.ClusterDownError) or str(error).startswith("CLUSTERDOWN ")


def _address(node: Sequence[Any], asked: NodeAddress) -> NodeAddress:
    """The address of a node. One that does not know its own host is where it was asked."""
    host = node[0].decode() if isinstance(node[0], bytes) else node[0]
    return NodeAddress(host or asked.host, int(node[1]))
