"""A minimal pooler in front of PostgreSQL: one server connection for each transaction, or for each client.

It supports simple queries and COPY FROM only, which is what psycopg2 uses. Like pgbouncer, it reuses the most recently
used connection first, and gives an invented backend pid to each client.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import make_url

from infrastructure.settings.postgres_url import libpq_parameters, sqlalchemy_url

SSL, GSS = 80877103, 80877104


class _Wire:
    """Reads and writes messages of the PostgreSQL protocol on a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def exactly(self, count: int) -> bytes:
        """Read exactly ``count`` bytes. Raises EOFError at the end of the stream."""
        parts = b""
        while len(parts) < count:
            part = self._socket.recv(count - len(parts))
            if not part:
                raise EOFError
            parts += part
        return parts

    def startup(self) -> bytes:
        """The startup message. Requests for encryption are declined."""
        while True:
            size = self.exactly(4)
            body = self.exactly(struct.unpack(">I", size)[0] - 4)
            if struct.unpack(">I", body[:4])[0] not in {SSL, GSS}:
                return size + body
            self.send(b"N")

    def message(self) -> bytes:
        head = self.exactly(5)
        return head + self.exactly(struct.unpack(">I", head[1:])[0] - 4)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()


class Pooler:
    """Listens on loopback. ``url`` is the database's URL through the pooler."""

    def __init__(self, url: str, *, of_transactions: bool) -> None:
        where = libpq_parameters(sqlalchemy_url(url))
        self._host, self._port = where.get("host", "127.0.0.1"), where.get("port", "5432")
        self._of_transactions = of_transactions
        self._idle: list[_Wire] = []
        self._wires: list[_Wire] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        address = make_url(url).set(host="127.0.0.1", port=self._listener.getsockname()[1])
        self.url = address.set(query={k: v for k, v in address.query.items() if k != "host"}).render_as_string(False)
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        with self._lock:
            for wire in self._wires:
                wire.close()

    def _listen(self) -> None:
        while True:
            try:
                client = _Wire(self._listener.accept()[0])
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: _Wire) -> None:
        try:
            server = self._log_in(client)
            if self._of_transactions:
                self._release(server)
            while (query := client.message())[:1] != b"X":
                one = self._borrow() if self._of_transactions else server
                one.send(query)
                while not self._forward_answer(client, one):
                    one.send(client.message())
                if self._of_transactions:
                    self._release(one)
        except (EOFError, OSError):
            return
        finally:
            client.close()

    def _log_in(self, client: _Wire) -> _Wire:
        """A new server connection, on which the client logs in."""
        start = client.startup()
        if self._host.startswith("/"):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(f"{self._host}/.s.PGSQL.{self._port}")
        else:
            connection = socket.create_connection((self._host, int(self._port)))
        server = _Wire(connection)
        with self._lock:
            self._wires += [client, server]
        server.send(start)
        while (message := server.message())[:1] != b"Z":
            if message[:1] == b"K":
                message = message[:5] + os.urandom(len(message) - 5)
            client.send(message)
            if message[:1] == b"R" and struct.unpack(">I", message[5:9])[0] not in {0, 12}:
                server.send(client.message())
        client.send(message)
        return server

    def _forward_answer(self, client: _Wire, server: _Wire) -> bool:
        """Forward an answer. True at the end of the transaction, False while the transaction is open."""
        while True:
            message = server.message()
            client.send(message)
            if message[:1] == b"Z":
                return message[5:6] == b"I" or not self._of_transactions
            if message[:1] == b"G":
                while (data := client.message())[:1] not in {b"c", b"f"}:
                    server.send(data)
                server.send(data)

    def _borrow(self) -> _Wire:
        with self._lock:
            return self._idle.pop()

    def _release(self, server: _Wire) -> None:
        with self._lock:
            self._idle.append(server)


@contextmanager
def pooler(url: str, *, of_transactions: bool) -> Iterator[str]:
    """The URL of the database of ``url``, through a pooler."""
    one = Pooler(url, of_transactions=of_transactions)
    try:
        yield one.url
    finally:
        one.close()
