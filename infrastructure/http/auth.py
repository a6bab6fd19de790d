"""Tokens and roles. Without tokens everything is open, which ``serve`` allows on loopback only."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from infrastructure.http.errors import ApiError
from infrastructure.settings_tokens import Role


class Authorizer:
    """A Litestar guard. A handler names the role it needs in ``opt={"role": …}``; without one it is public.

    A tuple of roles means that any of them will do. ``admin`` may do everything. A token comes as Bearer, or as the
    password of Basic with any user: clients of schema registries have no other place for it.
    """

    def __init__(self, tokens: Mapping[str, frozenset[Role]]) -> None:
        self._tokens = {token.encode(): roles for token, roles in tokens.items()}

    def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        needed: Role | tuple[Role, ...] | None = handler.opt.get("role")
        if not self._tokens or needed is None:
            return
        wanted = (needed,) if isinstance(needed, str) else needed
        roles = self._roles_of(connection.headers.get("authorization", ""))
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

    def _roles_of(self, header: str) -> frozenset[Role] | None:
        given = _token(header)
        if given is None:
            return None
        found: frozenset[Role] | None = None
        # All are compared, in constant time each: the time taken says nothing about any of them.
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
