"""Guards that check tokens and roles, or, without tokens, the host and origin of a request.

``serve`` allows HTTP without tokens on loopback only. The server then trusts every program of this machine, but no web
page in a browser on it.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from infrastructure.http.browser_writes import check_browser_write
from infrastructure.http.errors import ApiError
from infrastructure.http.sessions import SESSION_CHECK, Sessions, cookie_of, hashed
from infrastructure.settings.tokens import Role
from infrastructure.settings.values import is_loopback


class Authorizer:
    """A Litestar guard. A handler names the role it needs in ``opt={"role": …}``; a handler without one is public.

    If the handler names a tuple of roles, any of them suffices. ``admin`` may do everything. A token is sent as Bearer,
    or as the password of Basic with any user, because clients of schema registries support only Basic. A browser sends
    the cookie of its session instead.
    """

    def __init__(self, tokens: Mapping[str, frozenset[Role]], sessions: Sessions | None = None) -> None:
        """``sessions``: None if this server has none."""
        self._tokens = {token.encode(): roles for token, roles in tokens.items()}
        self._by_hash = {hashed(token): roles for token, roles in self._tokens.items()}
        self._sessions = sessions

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Raises ApiError 401 or 403; 503 if a session cannot be looked up."""
        needed: Role | tuple[Role, ...] | None = handler.opt.get("role")
        if not self._tokens or needed is None:
            return
        wanted = (needed,) if isinstance(needed, str) else needed
        header = connection.headers.get("authorization")
        roles = await self._of_session(connection) if header is None else self.roles_of_header(header)
        if roles is None:
            raise ApiError(
                401,
                "unauthorized",
                f"send `Authorization: Bearer <token>` with a token of role {' or '.join(wanted)}",
                {"WWW-Authenticate": "Bearer"},
            )
        if roles.isdisjoint({*wanted, "admin"}):
            has = " and ".join(sorted(roles))
            raise ApiError(403, "forbidden", f"this token has role {has}; {' or '.join(wanted)} is needed")
        if header is None:
            # A session ends while a stream lasts; a token is valid as long as the process.
            connection.scope.setdefault("state", {})[SESSION_CHECK] = partial(self, connection, handler)

    async def _of_session(self, connection: ASGIConnection[Any, Any, Any, Any]) -> frozenset[Role] | None:
        value = None if self._sessions is None else cookie_of(connection)
        if value is None or self._sessions is None:
            return None
        token_hash = await self._sessions.token_of(value)
        roles = None if token_hash is None else self._by_hash.get(token_hash)
        if roles is not None:
            # A browser sends the cookie for any page that asks it to.
            check_browser_write(connection, by_cookie=True)
        return roles

    def admits(self, connection: ASGIConnection[Any, Any, Any, Any], wanted: Sequence[Role]) -> bool:
        """Whether a public handler may show the caller what is for ``wanted``: by its token, or none is set here.

        A session does not count: it is looked up in Postgres, and health must be known without Postgres.
        """
        if not self._tokens:
            return True
        header = connection.headers.get("authorization")
        roles = None if header is None else self.roles_of_header(header)
        return roles is not None and not roles.isdisjoint({*wanted, "admin"})

    def roles_of_header(self, header: str) -> frozenset[Role] | None:
        """The roles of the token in the header Authorization; None for an unknown one."""
        given = _token(header)
        return None if given is None else self.roles_of(given)

    def roles_of(self, given: bytes) -> frozenset[Role] | None:
        """The roles of a token; None for an unknown one."""
        found: frozenset[Role] | None = None
        # Compare all tokens, each in constant time, so that the time taken reveals nothing about them.
        for token, roles in self._tokens.items():
            if hmac.compare_digest(token, given):
                found = roles
        return found


def _token(header: str) -> bytes | None:
    scheme, _, given = header.partition(" ")
    match scheme.lower():
        case "bearer":
            return given.strip().encode()
        case "basic":
            try:
                return base64.b64decode(given.strip(), validate=True).partition(b":")[2]
            except ValueError:
                return None
        case _:
            return None


CODE = "forbidden_host"
MAX_AUTHORITY_CHARS = 300
"""Of a host and its port: a DNS name has at most 253. A longer one is forbidden, so that none fills the cache."""

_AUTHORITY = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:@/]+))(?::\d+)?")
_SCHEME = re.compile(r"https?://", re.IGNORECASE)


def local_only(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """A Litestar guard. Raises ApiError 403 unless Host, and Origin where there is one, name this machine.

    A foreign page reaches this server under its own name, if that points at 127.0.0.1 (DNS rebinding): Host shows it.
    Or it posts without reading the answer: Origin shows that. Browsers always send these headers; others may not.
    """
    # Read here, because the framework's mapping of headers costs more than the check.
    headers = connection.scope["headers"]
    for host in [value.decode("latin-1") for name, value in headers if name == b"host"]:
        if not _names_this_machine(host):
            raise _forbidden(f"the request is for the host {host[:100]!r}")
    for origin in [value.decode("latin-1") for name, value in headers if name == b"origin"]:
        if not _SCHEME.match(origin) or not _names_this_machine(_SCHEME.sub("", origin, count=1)):
            raise _forbidden(f"the request comes from a page of {origin[:100]!r}")
    # A page of another port of this machine is foreign too.
    check_browser_write(connection, by_cookie=False)


def _names_this_machine(authority: str) -> bool:
    return len(authority) <= MAX_AUTHORITY_CHARS and _is_loopback_authority(authority)


@lru_cache(maxsize=1024)
def _is_loopback_authority(authority: str) -> bool:
    found = _AUTHORITY.fullmatch(authority)
    return found is not None and is_loopback(found["six"] or found["name"])


def _forbidden(what: str) -> ApiError:
    return ApiError(
        403,
        CODE,
        f"{what}, and without tokens only this machine is served: use http://localhost or http://127.0.0.1, "
        "or start serve with RIDELOG_TOKENS and send a token",
    )
