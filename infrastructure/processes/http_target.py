"""The request target of HTTP/1.1 (RFC 9112, 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import httptools


class Target(NamedTuple):
    """``authority``: host and port of an absolute URL, which replace the header Host; None for a mere path."""

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
