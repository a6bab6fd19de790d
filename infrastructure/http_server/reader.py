"""Uvicorn's HTTP/1.1 protocol, with strict and bounded parsing of requests and their targets (RFC 9112, 3.2).

Uvicorn 0.54 with httptools 0.9 drops the body of a request that offers an upgrade, and may parse that body as a second
request. It does not bound heads.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from infrastructure.http_server.connections import ConnectionLimits
from infrastructure.http_server.refusal import Refusal, RequestRefused, head_too_large, malformed


class Target(NamedTuple):
    """``authority``: host and port of an absolute URL, which replace the header Host; None for a path."""

    path: bytes
    query: bytes
    authority: bytes | None


def parse_target(target: bytes, method: bytes) -> Target | None:
    """A path, an absolute http or https URL, or ``*`` of OPTIONS; None for anything else."""
    if not target.isascii():
        return None
    if target.startswith(b"/"):
        path, _, query = target.partition(b"#")[0].partition(b"?")
        return Target(path, query, None)
    if target == b"*":
        return Target(target, b"", None) if method == b"OPTIONS" else None
    return _absolute(target)


def _absolute(target: bytes) -> Target | None:
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        return None
    if url.schema is None or url.schema.lower() not in {b"http", b"https"} or not url.host or url.userinfo:
        return None
    host = b"[%b]" % url.host if b":" in url.host else url.host
    authority = host if url.port is None else b"%b:%d" % (host, url.port)
    return Target(url.path or b"/", url.query or b"", authority)


log = logging.getLogger("ridelog.http")

_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class StrictHttpReader(HttpToolsProtocol):
    """Parses requests. A subclass handles them."""

    def __init__(self, limits: ConnectionLimits, **server: Any) -> None:
        super().__init__(**server)
        self._limits = limits
        self._replaying = False  # the parser reads a head that it has read before
        self._in_head = True
        self._head_began = False
        self._head_is_timed = False
        self._progressed = False
        self._idle_bytes = 0  # in consecutive segments that completed nothing
        self._head_bytes = 0
        self._hosts = 0
        self._codings: list[bytes] = []
        self._refusal: Refusal | None = None

    @abstractmethod
    def _begin_request(self, *, keep_alive: bool) -> None:
        """Pass the checked head in ``scope`` to the application."""

    @abstractmethod
    def _on_end_of_answered_request(self) -> None:
        """Called when the rest of a request has arrived that was answered earlier."""

    def _read(self, data: bytes) -> Refusal | None:
        """Parse ``data``. Returns a refusal if it is not HTTP or exceeds a limit; then nothing more may be read."""
        self._progressed = False
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            return self._refusal or self._malformed(error)
        self._idle_bytes = 0 if self._progressed else self._idle_bytes + len(data)
        if self._idle_bytes > self._limits.max_head_bytes:
            return head_too_large(self._limits.max_head_bytes)
        return None

    def _feed(self, data: bytes) -> None:
        rest = memoryview(data)
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as offer:
                # RFC 9110, 7.8: a server may ignore an offer. The parser assumes that it is accepted and skips the
                # body, which would then be read as a request. A new parser continues after the head.
                self._read_on_without_upgrade()
                rest = rest[offer.args[0] :]
                if rest:
                    continue
            return

    def _read_on_without_upgrade(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        framing = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] in _FRAMING)
        self._replaying = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
        self._replaying = False

    def on_message_begin(self) -> None:
        if self._replaying:
            return
        super().on_message_begin()
        self._progressed = self._in_head = self._head_began = True
        self._head_bytes = self._hosts = 0
        self._codings = []

    def on_url(self, url: bytes) -> None:
        if not self._replaying:
            self._head_bytes += len(url)
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._replaying:
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._limits.max_head_bytes:
            self._stop(head_too_large(self._limits.max_head_bytes))
        if not self._in_head:
            return  # A trailer. As a header it would change a request that is already checked and being handled.
        # Does not call the base class's method: one call more for each header is measurable at 5,000 requests a second.
        name = name.lower()
        self.headers.append((name, value))
        if name == b"host":
            self._hosts += 1
        elif name == b"transfer-encoding":
            self._codings.append(value.lower())
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        if self._replaying:
            return
        self._progressed = True
        self._in_head = self._head_began = self._head_is_timed = False
        if self._head_bytes > self._limits.max_head_bytes:
            self._stop(head_too_large(self._limits.max_head_bytes))
        version, method = self.parser.get_http_version(), self.parser.get_method()
        self._check_head(version, method)
        self._set_target(method)
        self.scope["method"] = method.decode("ascii")
        self.scope["http_version"] = version
        self._begin_request(keep_alive=version == "1.1" and self.parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        self._progressed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade() and not self._replaying:
            return  # the body is still to be read, by another parser
        self._progressed = self._in_head = True
        super().on_message_complete()
        if self.cycle.response_complete:
            self.cycle.more_body = False
            self._on_end_of_answered_request()

    def _check_head(self, version: str, method: bytes) -> None:
        """Stop the parser at a head that RFC 9110 or 9112 rejects, or that proxies interpret in different ways."""
        if version not in {"1.0", "1.1"}:
            self._stop(Refusal(505, "http_version_not_supported", "this server speaks HTTP/1.1"))
        if method == b"CONNECT":
            self._stop(Refusal(501, "method_not_implemented", "this server is not a proxy"))
        if self._hosts != 1 and (version == "1.1" or self._hosts > 1):
            self._stop(malformed(f"it has {self._hosts} headers Host"))
        if self._codings:
            if version == "1.0":
                self._stop(malformed("HTTP/1.0 has no Transfer-Encoding"))
            if self._codings != [b"chunked"]:
                self._stop(Refusal(501, "transfer_encoding_not_implemented", "only Transfer-Encoding: chunked is read"))

    def _set_target(self, method: bytes) -> None:
        target = parse_target(self.url, method)
        if target is None:
            self._stop(malformed("its target is neither a path nor an http URL"))
            return
        if target.authority is not None:
            # RFC 9112, 3.2.2: the URL names the host and the header Host is ignored.
            self.headers[:] = [(b"host", target.authority), *(one for one in self.headers if one[0] != b"host")]
        path = target.path.decode("ascii")
        self.scope["path"] = self.root_path + (unquote(path) if "%" in path else path)
        self.scope["raw_path"] = self.root_path.encode("ascii") + target.path
        self.scope["query_string"] = target.query

    def _stop(self, refusal: Refusal) -> None:
        self._refusal = refusal
        raise RequestRefused(refusal)

    def _malformed(self, error: httptools.HttpParserError) -> Refusal:
        if isinstance(error, httptools.HttpParserCallbackError):
            log.error("unexpected error in the HTTP server", exc_info=error.__context__)
        return malformed(str(error))
