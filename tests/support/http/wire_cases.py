"""HTTP/1.1 requests as clients of other languages, proxies and attackers send them, with the correct answers to each.

RFC 9110 and 9112 define the correct answer. Where they leave a choice, the answer is correct that no proxy in front of
the server can interpret differently. ``100 Continue`` may also arrive in cases that do not name it.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple

HOST: Final = b"Host: localhost\r\n"
JSON: Final = b"Content-Type: application/json\r\n"
LIVE: Final = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
H2C: Final = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
WEBSOCKET: Final = (
    b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
TLS: Final = b"Upgrade: TLS/1.2\r\nConnection: Upgrade\r\n"
PING: Final = b'{"rider_id":"wire","latitude":52.5,"longitude":13.4,"event_timestamp_ms":%d}' % (
    time.time_ns() // 10**6
)


class WireCase(NamedTuple):
    """``segments`` are sent one by one. ``right``: for each response in order, the correct statuses.

    ``stays``: whether the connection must serve another request afterwards (None: either).
    """

    name: str
    segments: tuple[bytes, ...]
    right: tuple[frozenset[int], ...]
    stays: bool | None


def post(headers: bytes = b"", body: bytes = PING, *, length: bool = True) -> bytes:
    """A POST of ``body`` to /pings."""
    return head(headers, len(body) if length else None) + body


def head(headers: bytes = b"", length: int | None = None) -> bytes:
    """The head of a POST to /pings."""
    sized = b"" if length is None else b"Content-Length: %d\r\n" % length
    return b"POST /pings HTTP/1.1\r\n" + HOST + JSON + headers + sized + b"\r\n"


def chunked(body: bytes, trailer: bytes = b"") -> bytes:
    """``body`` in two chunks."""
    half = len(body) // 2
    parts = (body[:half], body[half:])
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailer + b"\r\n"


def of(*statuses: int) -> frozenset[int]:
    """The set of correct statuses of one response."""
    return frozenset(statuses)


def _smuggled() -> bytes:
    """A body that is a complete request."""
    return b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Smuggled: yes\r\n\r\n"


TE: Final = b"Transfer-Encoding: chunked\r\n"
OK, BAD = of(200), of(400)
MALFORMED: Final = (BAD,)


def _offers() -> list[WireCase]:
    found: list[WireCase] = []
    for name, offer in (("h2c", H2C), ("websocket", WEBSOCKET), ("tls", TLS)):
        late = head(offer, len(_smuggled()))
        found += [
            WireCase(f"{name} offered, body in the same segment", (post(offer),), (OK,), True),
            WireCase(f"{name} offered, body in its own segment", (head(offer, len(PING)), PING), (OK,), True),
            WireCase(f"{name} offered, body cut in two", (post(offer)[:-20], post(offer)[-20:]), (OK,), True),
            WireCase(f"{name} offered, chunked", (head(offer + TE) + chunked(PING),), (OK,), True),
            WireCase(f"{name} offered, chunked in its own segment", (head(offer + TE), chunked(PING)), (OK,), True),
            WireCase(f"{name} offered, the body is a request", (late + _smuggled(),), (BAD,), True),
            WireCase(f"{name} offered, the late body is a request", (late, _smuggled()), (BAD,), True),
            WireCase(f"{name} offered twice in one segment", (post(offer) * 2,), (OK, OK), True),
            WireCase(f"{name} offered on GET", (LIVE[:-2] + offer + b"\r\n",), (OK,), True),
            WireCase(f"{name} offered on GET, then POST", (LIVE[:-2] + offer + b"\r\n" + post(),), (OK, OK), True),
        ]
    expect = H2C + b"Expect: 100-continue\r\n"
    found.append(WireCase("h2c with Expect", (head(expect, len(PING)), PING), (of(100), OK), True))
    return found


def _lengths() -> list[WireCase]:
    def length(value: bytes) -> bytes:
        return head(b"Content-Length: " + value + b"\r\n") + PING

    size = b"%d" % len(PING)
    return [
        WireCase("chunked and Content-Length", (head(TE, len(PING)) + chunked(PING),), MALFORMED, False),
        WireCase("Content-Length and chunked, smuggling", (head(TE, 5) + b"0\r\n\r\n" + LIVE,), MALFORMED, False),
        WireCase("two different Content-Length", (head(b"Content-Length: 3\r\n", len(PING)) + PING,), MALFORMED, False),
        WireCase(
            "Content-Length twice", (head(b"Content-Length: " + size + b"\r\n", len(PING)) + PING,), MALFORMED, False
        ),
        WireCase("Content-Length as a list", (length(size + b", " + size),), MALFORMED, False),
        WireCase("Content-Length with a sign", (length(b"+" + size),), MALFORMED, False),
        WireCase("Content-Length negative", (length(b"-1"),), MALFORMED, False),
        WireCase("Content-Length in hex", (length(b"0x10"),), MALFORMED, False),
        WireCase("Content-Length with a blank", (length(b"1 2"),), MALFORMED, False),
        WireCase("Content-Length past 64 bits", (length(b"99999999999999999999"),), MALFORMED, False),
        WireCase("Content-Length empty", (length(b""),), MALFORMED, False),
    ]


def _codings() -> list[WireCase]:
    def coded(value: bytes) -> tuple[bytes]:
        return (head(b"Transfer-Encoding: " + value + b"\r\n") + chunked(PING),)

    refused = (of(400, 501),)
    old = b"POST /pings HTTP/1.0\r\n" + HOST + TE + b"\r\n"
    return [
        WireCase("chunked", coded(b"chunked"), (OK,), True),
        WireCase("chunked in capitals", coded(b"CHUNKED"), (OK,), True),
        WireCase("Transfer-Encoding identity", coded(b"identity"), refused, False),
        WireCase("Transfer-Encoding xchunked", coded(b"xchunked"), refused, False),
        WireCase("Transfer-Encoding chunked, identity", coded(b"chunked, identity"), refused, False),
        WireCase("Transfer-Encoding gzip, chunked", coded(b"gzip, chunked"), refused, False),
        WireCase("Transfer-Encoding chunked twice", coded(b"chunked, chunked"), refused, False),
        WireCase("Transfer-Encoding in two lines", coded(b"chunked\r\nTransfer-Encoding: identity"), refused, False),
        WireCase("Transfer-Encoding with a vertical tab", coded(b"\x0bchunked"), refused, False),
        WireCase(
            "Transfer-Encoding with a blank before :",
            (head(b"Transfer-Encoding : chunked\r\n") + chunked(PING),),
            refused,
            False,
        ),
        WireCase("Transfer-Encoding in HTTP/1.0", (old + chunked(PING),), refused, False),
        WireCase("a chunk of size -1", (head(TE) + b"-1\r\n",), MALFORMED, False),
        WireCase("a chunk of size 0x5", (head(TE) + b"0x5\r\nabcde\r\n0\r\n\r\n",), MALFORMED, False),
        WireCase("a chunk past 64 bits", (head(TE) + b"10000000000000000\r\n",), MALFORMED, False),
        WireCase("a chunk ended by LF", (head(TE) + b"5\nabcde\n0\n\n",), MALFORMED, False),
        WireCase("a chunk longer than said", (head(TE) + b"2\r\nabcde\r\n0\r\n\r\n",), MALFORMED, False),
        WireCase(
            "a chunk extension", (head(TE) + b'%x;name="value"\r\n' % len(PING) + PING + b"\r\n0\r\n\r\n",), (OK,), True
        ),
        WireCase("a trailer", (head(TE) + chunked(PING, b"X-Checksum: 1\r\n"),), (OK,), True),
        WireCase(
            "a trailer that would code the body", (head(TE), chunked(PING, b"Content-Encoding: br\r\n")), (OK,), True
        ),
    ]


def _lines() -> list[WireCase]:
    def live(line: bytes) -> tuple[bytes]:
        return (LIVE[:-2] + line + b"\r\n\r\n",)

    return [
        WireCase("a folded header line", live(b"X-Folded: one\r\n two"), MALFORMED, False),
        WireCase(
            "a folded Content-Length", (head(b"Content-Length:\r\n %d\r\n" % len(PING)) + PING,), MALFORMED, False
        ),
        WireCase("lines ended by LF", (LIVE.replace(b"\r\n", b"\n"),), MALFORMED, False),
        WireCase("a header line ended by LF", live(b"X-One: 1\nX-Two: 2"), MALFORMED, False),
        WireCase("a bare CR in a value", live(b"X-One: 1\rX-Two: 2"), MALFORMED, False),
        WireCase("NUL in a value", live(b"X-One: 1\x002"), MALFORMED, False),
        WireCase("a blank in a name", live(b"X One: 1"), MALFORMED, False),
        WireCase("a header line without a colon", live(b"X-One"), MALFORMED, False),
        WireCase("a header line without a name", live(b": 1"), MALFORMED, False),
        WireCase("no Host", (b"GET /health/live HTTP/1.1\r\n\r\n",), MALFORMED, False),
        WireCase("two Hosts", live(b"Host: evil.example"), MALFORMED, False),
    ]


def _targets() -> list[WireCase]:
    def get(target: bytes, version: bytes = b"HTTP/1.1", more: bytes = b"") -> tuple[bytes]:
        return (b"GET " + target + b" " + version + b"\r\n" + HOST + more + b"\r\n",)

    connect = b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n"
    refused = (of(400, 403, 404, 405, 501),)
    return [
        WireCase("CONNECT", (connect,), refused, None),
        WireCase("CONNECT, then a tunnelled request", (connect + LIVE,), refused, False),
        WireCase("an absolute URI", get(b"http://localhost/health/live"), (OK,), True),
        WireCase("an absolute URI of another host", get(b"http://evil.example/riders/a/speed"), (of(403),), None),
        WireCase("OPTIONS *", (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",), (of(200, 204, 400, 404, 405),), None),
        WireCase("a target without a slash", get(b"health/live"), refused, None),
        WireCase("a target with a raw blank", get(b"/health/live x"), MALFORMED, False),
        WireCase("a target that is not ASCII", get("/riders/é/speed".encode()), refused, None),
        WireCase("HTTP/1.0", get(b"/health/live", b"HTTP/1.0"), (OK,), False),
        WireCase(
            "HTTP/1.0 with keep-alive", get(b"/health/live", b"HTTP/1.0", b"Connection: keep-alive\r\n"), (OK,), None
        ),
        WireCase("HTTP/1.1 with close", get(b"/health/live", more=b"Connection: close\r\n"), (OK,), False),
        WireCase("HTTP/0.9", (b"GET /health/live\r\n\r\n",), (of(400, 505),), False),
        WireCase("HTTP/2.0", get(b"/health/live", b"HTTP/2.0"), (of(400, 505),), False),
        WireCase("the preface of HTTP/2", (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",), (of(400, 505),), False),
        WireCase("an unknown method", (b"FROB / HTTP/1.1\r\n" + HOST + b"\r\n",), (of(400, 405, 501),), None),
        WireCase("TLS to the plain port", (bytes.fromhex("16030100a5010000a10303") + bytes(160),), MALFORMED, False),
    ]


def _orders() -> list[WireCase]:
    expect = b"Expect: 100-continue\r\n"
    large = b"Content-Length: 99999999\r\n"
    return [
        WireCase("three requests in one segment", (LIVE + post() + LIVE,), (OK, OK, OK), True),
        WireCase("a request, then none", (post() + b"\x00\x01\x02\r\n\r\n",), (OK, BAD), False),
        WireCase("a request byte by byte", tuple(bytes([b]) for b in LIVE), (OK,), True),
        WireCase("blank lines before a request", (b"\r\n\r\n" + LIVE,), (OK,), True),
        WireCase("Expect: 100-continue", (head(expect, len(PING)), PING), (of(100), OK), True),
        WireCase("Expect with the body at once", (post(expect),), (OK,), True),
        WireCase("Expect for a body that is too large", (head(expect + large),), (of(413),), False),
        WireCase("a body on GET", (LIVE[:-2] + b"Content-Length: 5\r\n\r\nabcde",), (OK,), True),
        WireCase("a close, then another request", (LIVE[:-2] + b"Connection: close\r\n\r\n" + LIVE,), (OK,), False),
    ]


def _sizes() -> list[WireCase]:
    def live(*lines: bytes) -> bytes:
        return LIVE[:-2] + b"".join(line + b"\r\n" for line in lines) + b"\r\n"

    too_large = (of(431),)
    many = [b"X-%d: 1" % number for number in range(8_000)]
    one = b"X-Large: " + b"x" * 70_000
    return [
        WireCase("headers of 60 KiB", (live(b"X-Large: " + b"x" * 60 * 1024),), (OK,), True),
        WireCase("headers of 70 kB in one segment", (live(one),), too_large, False),
        WireCase("headers of 70 kB in two segments", (live(one)[:40_000], live(one)[40_000:]), too_large, False),
        WireCase("8,000 headers of 80 kB in all", (live(*many),), too_large, False),
        WireCase(
            "a target of 70 kB", (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",), (of(414, 431),), False
        ),
        WireCase("a method of 70 kB", (b"X" * 70_000,), (of(400, 431),), False),
        WireCase(
            "a trailer of 100 kB",
            (head(TE), chunked(PING, b"X-Large: " + b"x" * 100_000 + b"\r\n")),
            (of(400, 431),),
            False,
        ),
        WireCase("a chunk extension of 100 kB", (head(TE), b"5;" + b"x" * 100_000 + b"\r\n"), (of(400, 431),), False),
    ]


CASES: Final = [*_offers(), *_lengths(), *_codings(), *_lines(), *_targets(), *_orders(), *_sizes()]
