"""``POST /session`` and ``DELETE /session``: a browser changes its token for a cookie, which no script can read."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import msgspec
from litestar import MediaType, Request, Response, delete, post
from litestar.connection import ASGIConnection
from litestar.handlers import HTTPRouteHandler

from infrastructure.http.browser_writes import came_by_tls, is_https
from infrastructure.http.errors import ApiError, errors, unavailable
from infrastructure.observability.throttled_log import ThrottledLogger
from infrastructure.settings.tokens import ROLES
from projections.core.ports import PortUnavailable, SinkRejected

T = TypeVar("T")

SESSION_S: Final = 12 * 3_600
ID_BYTES: Final = 32
_ID: Final = re.compile(r"[A-Za-z0-9_-]{43}")
RECHECK_S: Final = 5.0
"""How long a session that another node has ended may still be served here."""
MAX_REMEMBERED: Final = 1_000
"""Sessions in memory, and as many ids of none."""
MAX_LOOKUP_THREADS: Final = 2
_LOOKUP_THREADS: Final = ThreadPoolExecutor(MAX_LOOKUP_THREADS, thread_name_prefix="session-look-ups")
"""A client without a token can send any cookie. In the loop's own few threads the look-ups of a flood of them would
keep the health checks and the reads of deliveries waiting."""

_FAULTS: Final = ThrottledLogger(logging.getLogger("ridelog.http"), "sessions", interval_s=60.0)

SESSION_CHECK: Final = "ridelog_session_check"
"""In the state of a request that a session allowed: the check to repeat while its answer, a stream, goes on."""

COOKIE: Final = "ridelog_session"
SECURE_COOKIE: Final = f"__Host-{COOKIE}"
"""With TLS. Browsers accept the prefix only from the host itself, so that no page of a sibling host can set it."""


class SessionRows(Protocol):
    """Stored sessions. Blocks. Every method raises PortUnavailable."""

    def add(self, id_hash: bytes, token_hash: bytes, seconds: float) -> int:
        """Store a session. Returns its end, epoch milliseconds."""
        ...

    def token_of(self, id_hash: bytes) -> bytes | None:
        """The hash of its token; None if it has ended."""
        ...

    def delete(self, id_hash: bytes) -> None:
        """End a session."""
        ...


class SessionAnswer(msgspec.Struct):
    """The roles of the session, and when it ends."""

    roles: list[str]
    expires_at_ms: int


class _Remembered(NamedTuple):
    token_hash: bytes | None
    read_at: float


class _LatestReads:
    """The look-ups of the last RECHECK_S, at most MAX_REMEMBERED."""

    def __init__(self) -> None:
        self._reads: OrderedDict[bytes, _Remembered] = OrderedDict()

    def get(self, id_hash: bytes, now: float) -> _Remembered | None:
        found = self._reads.get(id_hash)
        return found if found is not None and now - found.read_at < RECHECK_S else None

    def put(self, id_hash: bytes, read: _Remembered) -> None:
        self._reads[id_hash] = read
        self._reads.move_to_end(id_hash)
        if len(self._reads) > MAX_REMEMBERED:
            self._reads.popitem(last=False)

    def forget(self, id_hash: bytes) -> None:
        self._reads.pop(id_hash, None)


class Sessions:
    """Finds the token of a session's cookie. Ids are random and stored hashed: the table opens no session."""

    def __init__(self, rows: SessionRows, clock: Callable[[], float] = time.monotonic) -> None:
        self._rows = rows
        self._clock = clock
        self._known = _LatestReads()
        # Apart, so that a flood of cookies of no session takes none out of memory.
        self._unknown = _LatestReads()
        self._ends = 0
        """Sessions that were ended here. A look-up that began before one of them may have found it."""

    async def begin(self, token: bytes) -> tuple[str, int]:
        """The id of a new session of ``token``, and its end in epoch milliseconds. Raises ApiError 503."""
        value = secrets.token_urlsafe(ID_BYTES)
        add = partial(self._rows.add, hashed(value.encode()), hashed(token), SESSION_S)
        return value, await _stored(None, add)

    async def token_of(self, value: str) -> bytes | None:
        """The hash of the session's token; None if it has ended. Raises ApiError 503."""
        if not _ID.fullmatch(value):
            return None  # no session has this id
        id_hash = hashed(value.encode())
        now = self._clock()
        known = self._known.get(id_hash, now) or self._unknown.get(id_hash, now)
        if known is not None:
            return known.token_hash
        ends = self._ends
        found = await _stored(_LOOKUP_THREADS, partial(self._rows.token_of, id_hash))
        if found is None:
            self._unknown.put(id_hash, _Remembered(None, self._clock()))
        elif ends == self._ends:
            self._known.put(id_hash, _Remembered(found, self._clock()))
        return found

    async def end(self, value: str) -> None:
        """End the session, here at once. Raises ApiError 503."""
        id_hash = hashed(value.encode("latin-1", "replace"))
        await _stored(None, partial(self._rows.delete, id_hash))
        self._ends += 1
        self._known.forget(id_hash)


def hashed(secret: bytes) -> bytes:
    """What is stored of a secret. It has 16 random characters and more, so that no slow hash is needed."""
    return hashlib.sha256(secret).digest()


def cookie_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """The session's id that the browser sends, if any.

    With TLS only the prefixed cookie counts. Another host of the domain, or a network that answers without TLS, can set
    the other one, and with it the session of another person.
    """
    cookies = connection.cookies
    return cookies.get(SECURE_COOKIE) or (None if came_by_tls(connection) else cookies.get(COOKIE))


def session_routes(sessions: Sessions, roles_of: Callable[[bytes], frozenset[str] | None]) -> list[HTTPRouteHandler]:
    """``roles_of`` returns the roles of a token; None for an unknown one, and for every one if none is set."""

    @post(
        "/session",
        media_type=MediaType.JSON,
        status_code=200,
        opt={"role": ROLES},
        summary="Change a token for a cookie",
        responses=errors(409, 503),
        tags=["session"],
    )
    async def begin(request: Request[Any, Any, Any]) -> Response[SessionAnswer]:
        """Send the token as `Authorization: Bearer …`. The answer sets a cookie of 12 hours that no script can read.

        A browser then needs no token, with the roles of this one until it is removed from the settings. It is for
        pages: a program goes on to send the token. Without tokens there is nothing to change: 409.
        """
        token = request.headers.get("authorization", "").partition(" ")[2].strip().encode("latin-1", "replace")
        roles = roles_of(token)
        if roles is None:
            raise ApiError(409, "no_tokens", "send a Bearer token; a server without tokens needs no session")
        value, ends_ms = await sessions.begin(token)
        headers = {"Cache-Control": "no-store", "Set-Cookie": _cookie(value, SESSION_S, secure=is_https(request))}
        return Response(SessionAnswer(sorted(roles), ends_ms), headers=headers)

    @delete(
        "/session",
        status_code=204,
        opt={"role": ROLES},
        summary="End the session",
        responses=errors(503),
        tags=["session"],
    )
    async def end(request: Request[Any, Any, Any]) -> Response[None]:
        """The cookie is invalid from now on, on other nodes within 5 seconds."""
        value = cookie_of(request)
        if value is not None:
            await sessions.end(value)
        return Response(None, status_code=204, headers={"Set-Cookie": _cookie("", 0, secure=is_https(request))})

    return [begin, end]


def _cookie(value: str, seconds: int, *, secure: bool) -> str:
    """The header Set-Cookie. The framework writes the attributes in lower case, and the contract says them as here."""
    name, end = (SECURE_COOKIE, "; Secure") if secure else (COOKIE, "")
    return f"{name}={value}; HttpOnly; Max-Age={seconds}; Path=/; SameSite=Strict{end}"


async def _stored(threads: ThreadPoolExecutor | None, work: Callable[[], T]) -> T:
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, work)
    except (PortUnavailable, SinkRejected) as error:
        # Any client may send a cookie, and Postgres' own text may name its address, user and database.
        _FAULTS.warn("sessions", error)
        detail = "Postgres does not answer, so no session can be looked up: the log of this node says why"
        raise unavailable("sessions_unavailable", detail) from error
