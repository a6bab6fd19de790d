"""Where a server listens: a Unix socket in a private directory if its path fits, else a loopback port."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil

# sockaddr_un.sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero included.
MAX_SOCKET_PATH = 103


def free_port() -> int:
    """A loopback TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fits_socket(path: Path) -> bool:
    """Whether the kernel accepts the path as that of a Unix socket."""
    return len(os.fsencode(path)) <= MAX_SOCKET_PATH


def listens(pid: int, port: int) -> bool:
    """Whether this very process accepts connections on the TCP port; a mere connect might reach another's."""
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.NoSuchProcess:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)
