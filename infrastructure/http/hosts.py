"""Without tokens a server on loopback trusts every program of this machine, and so no page in its browser."""

from __future__ import annotations

import re
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from infrastructure.http.errors import ApiError
from infrastructure.settings_values import is_loopback

CODE = "forbidden_host"
_AUTHORITY = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:@/]+))(?::\d+)?")
_SCHEME = re.compile(r"https?://", re.IGNORECASE)


def local_only(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """A Litestar guard. Raises ApiError 403 unless Host, and Origin where there is one, name this machine.

    A foreign page reaches us by a name of its own that it lets point at 127.0.0.1 (DNS rebinding), which Host shows,
    or posts without reading the answer, which Origin shows. No browser leaves these out; other programs may.
    """
    for host in connection.headers.getall("host", []):
        if not _names_this_machine(host):
            raise _refusal(f"the request is for the host {host[:100]!r}")
    for origin in connection.headers.getall("origin", []):
        if not _SCHEME.match(origin) or not _names_this_machine(_SCHEME.sub("", origin, count=1)):
            raise _refusal(f"the request comes from a page of {origin[:100]!r}")


def _names_this_machine(authority: str) -> bool:
    found = _AUTHORITY.fullmatch(authority)
    return found is not None and is_loopback(found["six"] or found["name"])


def _refusal(what: str) -> ApiError:
    return ApiError(
        403,
        CODE,
        f"{what}, and without tokens only this machine is served: use http://localhost or http://127.0.0.1, "
        "or start serve with RIDELOG_TOKENS and send a token",
    )
