"""Decides which writes of a browser are made by the page of this server, and refuses the others.

A browser sends cookies, and reaches loopback, for any page that is open in it. A program sends neither a cookie that
it was not given nor the headers below, so nothing changes for curl and for clients of other languages.
"""

from __future__ import annotations

import re
from typing import Any, Final

from litestar.connection import ASGIConnection

from infrastructure.http.errors import ApiError

CODE: Final = "forbidden_origin"
HEADER: Final = "X-Ridelog"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_FORWARDED: Final = frozenset({b"x-forwarded-proto", b"forwarded"})
_FORWARDED_TLS: Final = re.compile(rb"(?:^|[\s,;=\"])https(?:$|[\s,;\"])", re.IGNORECASE)
"""``X-Forwarded-Proto: https`` and ``Forwarded: for=…;proto=https``, also of several proxies."""
_LOOPBACK: Final = re.compile(rb"(?:(?:[a-z0-9.-]*\.)?localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?", re.IGNORECASE)
_NAMES: Final = frozenset({b"origin", b"sec-fetch-site", b"host", b"x-ridelog"})


def check_browser_write(connection: ASGIConnection[Any, Any, Any, Any], *, by_cookie: bool) -> None:
    """Raise ApiError 403 for a write that another page than ours may have sent.

    A request is a browser's if it has Origin or Sec-Fetch-Site, which no page can leave out or change: every browser
    since 2020 sends Origin with each write. Such a write must have this server's own Origin and the header X-Ridelog,
    which a page of another origin cannot send without a permission (CORS) that this server never gives. A write with
    a session's cookie must have both in any case.
    """
    scope = connection.scope
    if scope.get("method") in SAFE_METHODS:
        return
    headers: dict[bytes, list[str]] = {}
    for name, value in scope["headers"]:
        if name in _NAMES:
            headers.setdefault(name, []).append(value.decode("latin-1"))
    origins, sites = headers.get(b"origin", []), headers.get(b"sec-fetch-site", [])
    if not (by_cookie or origins or sites):
        return
    if sites not in ([], ["same-origin"]) or len(origins) != 1 or not _is_same(origins[0], headers.get(b"host", [])):
        raise _forbidden(f"it comes from a page of {origins[0][:100]!r}" if origins else "it names no Origin")
    if headers.get(b"x-ridelog") != ["1"]:
        raise _forbidden(f"it has no header {HEADER}: 1")


def is_https(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Whether the browser speaks TLS, to this server or to a proxy in front of it, by any sign of it."""
    return _has_tls_origin(connection, of_host=False) or came_by_tls(connection)


def came_by_tls(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Whether the request came by TLS, where its page may be one of another host.

    A page can add none of the signs to what a browser sends here, and none of them admits a request: with TLS only the
    cookie counts that no other host can set. A browser sends Sec-Fetch-Site by TLS and to its own machine alone, so a
    request that has it, and names another host, came by TLS whatever the proxy says.
    """
    if connection.scope.get("scheme") == "https" or _has_tls_origin(connection, of_host=True):
        return True
    is_browsers, is_loopback = False, False
    for name, value in connection.scope["headers"]:
        if name in _FORWARDED and _FORWARDED_TLS.search(value):
            return True
        is_browsers |= name == b"sec-fetch-site"
        is_loopback |= name == b"host" and _LOOPBACK.fullmatch(value) is not None
    return is_browsers and not is_loopback


def _has_tls_origin(connection: ASGIConnection[Any, Any, Any, Any], *, of_host: bool) -> bool:
    """``of_host``: only the Origin of this server's own page counts."""
    headers = connection.scope["headers"]
    hosts = [value for name, value in headers if name == b"host"]
    origins = [value.partition(b"://") for name, value in headers if name == b"origin"]
    return any(scheme == b"https" and (not of_host or hosts == [authority]) for scheme, _, authority in origins)


def _is_same(origin: str, hosts: list[str]) -> bool:
    scheme, separator, authority = origin.partition("://")
    # The scheme is not compared: behind a proxy that speaks TLS, this server sees http.
    return bool(separator) and scheme in {"http", "https"} and hosts == [authority]


def _forbidden(what: str) -> ApiError:
    return ApiError(
        403,
        CODE,
        f"a browser may write from the page of this server only, and {what}; a program sends neither Origin nor cookie,"
        " or sends `Authorization: Bearer <token>`",
    )
