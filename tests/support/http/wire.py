"""Sends raw HTTP/1.1 bytes to a server and parses the responses: for requests that no client library would send."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

WAIT_S = 20.0


class Answer(NamedTuple):
    """One response. The names in ``headers`` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """One connection to the server at ``url``."""

    def __init__(self, url: str, *, timeout_s: float = WAIT_S) -> None:
        address = urlsplit(url)
        self._address = (address.hostname or "", address.port or 80)
        self._socket = socket.create_connection(self._address, timeout=timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = bytearray()
        self._before_each_read: Callable[[], object] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def send(self, *segments: bytes) -> Self:
        """Send the segments one by one: the server reads each before the next one is sent."""
        for number, segment in enumerate(segments):
            if number:
                self._wait_until_read()
            self._socket.sendall(segment)
        return self

    def finish(self) -> Self:
        """Close the sending half, so that the server sees the end of the stream."""
        self._socket.shutdown(socket.SHUT_WR)
        return self

    def answer(self, *, to_head: bool = False, before_each_read: Callable[[], object] | None = None) -> Answer | None:
        """The next response; None once the server has closed. Raises TimeoutError if nothing arrives."""
        self._before_each_read = before_each_read
        while b"\r\n\r\n" not in self._data:
            if not self._read():
                assert not self._data, f"the connection ended within a response: {bytes(self._data[:200])!r}"
                return None
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        assert status_line.startswith("HTTP/1."), f"not a response: {status_line[:200]!r}"
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(status_line.split(" ", 2)[1])
        if to_head or status < 200:
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Answer(status, headers, self._chunks())
        length = headers.get("content-length")
        return Answer(status, headers, self._rest() if length is None else self._exactly(int(length)))

    def answers(self) -> list[Answer]:
        """All responses until the server closes."""
        found: list[Answer] = []
        while (one := self.answer()) is not None:
            found.append(one)
        return found

    def _wait_until_read(self) -> None:
        # An event loop serves its sockets in turn: once it answers this request, it has read what was sent before.
        with Wire(f"http://{self._address[0]}:{self._address[1]}") as other:
            other.send(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").answers()

    def _read(self) -> bytes:
        if self._before_each_read is not None:
            self._before_each_read()
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self._data += data
        return data

    def _exactly(self, count: int) -> bytes:
        while len(self._data) < count:
            assert self._read(), "the connection ended within a body"
        body = bytes(self._data[:count])
        del self._data[:count]
        return body

    def _line(self) -> bytes:
        while b"\r\n" not in self._data:
            assert self._read(), "the connection ended within a chunk"
        line, _, self._data = self._data.partition(b"\r\n")
        return bytes(line)

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._line(), 16):
            body += self._exactly(size)
            self._line()
        self._line()
        return body

    def _rest(self) -> bytes:
        while self._read():
            pass
        body, self._data = bytes(self._data), bytearray()
        return body
