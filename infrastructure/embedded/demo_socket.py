"""The socket between a demo and the API of its own ``serve``. No other process can offer one to that API.

The API opens it only if the process that listens is an ancestor of the API's process: a setting or a variable that
names a socket is not enough. So what breaks a demo does not exist anywhere else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import socketserver
import struct
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import psutil

log = logging.getLogger(__name__)

VARIABLE: Final = "DEMO_SOCKET_OF_RIDELOG"
"""In the environment of the demo's ``serve`` alone. It is no setting, so no file and no flag can name it."""
MAX_LINE_BYTES: Final = 256 * 1024
TIMEOUT_S: Final = 10.0
_CREDENTIALS: Final = struct.Struct("3i")
"""pid, uid and gid of the process at the other end, as the kernel knows them (SO_PEERCRED)."""

Ask = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Sends a request to the demo and returns its answer. Blocks. Raises DemoUnavailable."""


class DemoUnavailable(Exception):
    """The demo does not answer."""


class DemoListener:
    """Answers the API of the demo's ``serve``, one request a connection, in threads."""

    def __init__(self, answer: Ask) -> None:
        # A name of its own, because the path of a socket may have 107 bytes only.
        self._folder = tempfile.TemporaryDirectory(prefix="ridelog-demo-")
        self.path = Path(self._folder.name) / "s"

        class Handler(socketserver.StreamRequestHandler):
            timeout = TIMEOUT_S

            def handle(self) -> None:
                line = self.rfile.readline(MAX_LINE_BYTES)
                if not line:
                    # Each API does so at its start: ``demo_of_this_process`` only checks which process listens.
                    return
                try:
                    request = msgspec.json.decode(line, type=dict[str, Any])
                except msgspec.DecodeError as error:
                    log.warning("the API sent the demo a request that is not JSON; it gets no answer: %s", error)
                    return
                self.wfile.write(msgspec.json.encode(answer(request)) + b"\n")

        self._server = socketserver.ThreadingUnixStreamServer(str(self.path), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="demo-socket", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._folder.cleanup()


def demo_of_this_process(environment: Mapping[str, str] = os.environ) -> Ask | None:
    """How to ask the demo that has started this process; None if no demo has."""
    path = environment.get(VARIABLE)
    if not path:
        return None
    try:
        with _connected(path) as connection:
            listening = _peer_of(connection)
    except OSError as error:
        log.warning("the demo's socket cannot be used: %s", error)
        return None
    if listening not in {one.pid for one in psutil.Process().parents()}:
        log.warning("%s is set, and no demo has started this process: it is ignored", VARIABLE)
        return None

    def ask(request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            with _connected(path) as connection, connection.makefile("rwb") as stream:
                stream.write(msgspec.json.encode(request) + b"\n")
                stream.flush()
                return msgspec.json.decode(stream.readline(MAX_LINE_BYTES), type=dict[str, Any])
        except (OSError, msgspec.DecodeError) as error:
            raise DemoUnavailable(f"the demo does not answer: {error}") from error

    return ask


@contextlib.contextmanager
def _connected(path: str) -> Any:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(path)
        yield connection


def _peer_of(connection: socket.socket) -> int | None:
    """The pid of the process that listens; None where the system does not say it."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    pid, _, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return int(pid)
