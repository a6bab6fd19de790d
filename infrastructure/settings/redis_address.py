"""The address of a Redis Cluster: ``redis+cluster://user:password@host:port,host:port``.

The URL says that the server is a cluster. A program that knows single servers alone refuses such an address, instead of
starting and failing at every key that another node serves.
"""

from __future__ import annotations

import re
from typing import NamedTuple

CLUSTER_SCHEMES = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
"""Scheme of a cluster -> scheme of one of its nodes."""
DEFAULT_PORT = 6379
MAX_PORT = 65_535
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::(?P<port>\d{1,5}))?", re.ASCII)


class NodeAddress(NamedTuple):
    """Where a node of a cluster listens. ``host`` has no brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ClusterAddress(NamedTuple):
    """The nodes that are asked first for the others, and how each node is connected to.

    ``scheme``, ``login`` (with its ``@``) and ``query`` (with its ``?``) are parts of the URL of a node.
    """

    nodes: tuple[NodeAddress, ...]
    scheme: str = "redis"
    login: str = ""
    query: str = ""

    def url_of(self, node: NodeAddress) -> str:
        """The URL of one node, in the form that ``redis.from_url`` reads."""
        return f"{self.scheme}://{self.login}{node}/0{self.query}"


def is_cluster_url(url: str) -> bool:
    return url.partition("://")[0].lower() in CLUSTER_SCHEMES


def cluster_address(url: str) -> ClusterAddress:
    """The address in the URL of a cluster. Raises ValueError, with a message that quotes nothing of ``url``."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in CLUSTER_SCHEMES:
        raise ValueError("it is no URL of a Redis Cluster")
    place, question, query = rest.partition("?")
    authority, _, path = place.partition("/")
    login, at, hosts = authority.rpartition("@")
    if path not in {"", "0"}:
        raise ValueError("a Redis Cluster has database 0 alone")
    nodes = []
    for written in hosts.split(","):
        found = _HOST.fullmatch(written)
        port = int(found["port"] or DEFAULT_PORT) if found is not None else 0
        if found is None or not 0 < port <= MAX_PORT:
            raise ValueError("a host or port of a node is none")
        nodes.append(NodeAddress(found["host"].strip("[]"), port))
    return ClusterAddress(tuple(nodes), CLUSTER_SCHEMES[scheme.lower()], login + at, question + query)
