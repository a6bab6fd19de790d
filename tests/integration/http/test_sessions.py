"""Sessions of browsers over real HTTP, stored in memory and in Postgres: the cookie, its roles and end, its writes."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import httpx
import pytest
from litestar import Router
from litestar.handlers import HTTPRouteHandler
from sqlalchemy import Engine, text

from infrastructure.http.application import ApiParts, build
from infrastructure.http.deliveries import deliveries_router
from infrastructure.http.pipeline import pipeline_route
from infrastructure.http.sessions import COOKIE, ID_BYTES, MAX_REMEMBERED, SECURE_COOKIE, Sessions, hashed
from infrastructure.postgres.engine import writer_engine
from infrastructure.postgres.session_table import MAX_TOKEN_SESSIONS, PostgresSessions
from infrastructure.settings.settings import Settings
from infrastructure.status.lines import IngestHead
from infrastructure.status.pipeline_monitor import PipelineState
from tests.support.ports_in_memory.http_sessions import MemorySessions
from tests.support.servers.http_server import served
from tests.support.worlds.recorded_events import nothing

TOKENS = "read=reader-secret-1234,dispatch+read=both-secret-12345"
PAGE = {"X-Ridelog": "1"}


class StoredSessions(PostgresSessions):
    """Sessions in Postgres, with what the tests ask of them."""

    def __init__(self, engine: Engine, max_token_sessions: int = MAX_TOKEN_SESSIONS) -> None:
        super().__init__(engine, max_token_sessions)
        self._tests_engine = engine

    def stored(self) -> bytes:
        with self._tests_engine.connect() as connection:
            rows = connection.execute(text("SELECT id_hash, token_hash FROM http_sessions")).all()
        return b"".join(bytes(row.id_hash) + bytes(row.token_hash) for row in rows)

    def expire(self) -> None:
        with self._tests_engine.begin() as connection:
            connection.execute(text("UPDATE http_sessions SET expires_at = now() - interval '1 second'"))


Make = Callable[..., MemorySessions | StoredSessions]


@pytest.fixture(params=["memory", "postgres"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes the store of sessions."""
    if request.param == "memory":
        yield MemorySessions
        return
    engine = writer_engine(request.getfixturevalue("postgres_url"))
    yield partial(StoredSessions, engine)
    engine.dispose()


@pytest.fixture
def rows(make: Make) -> MemorySessions | StoredSessions:
    return make()


Rows = MemorySessions | StoredSessions


def serving(rows: Rows, tokens: str | None = TOKENS, sessions: Sessions | None = None) -> Any:
    absent = cast("Any", None)
    # Each write here is refused before the command is parsed, or as a command without an order id.
    measured = PipelineState(0, IngestHead("log", 0, 0), [])
    routers: list[Router | HTTPRouteHandler] = [
        deliveries_router(absent, absent, lambda verb, outcome: None),
        pipeline_route(lambda: measured),
    ]
    parts = ApiParts(absent, absent, absent, lambda: None, lambda _: None, {}, nothing, routers=routers)
    parts = ApiParts(**{**parts.__dict__, "sessions": sessions or Sessions(rows)})
    return served(build(Settings(tokens=tokens), parts))


def client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, trust_env=False)


def sign_in(one: httpx.Client, token: str = "both-secret-12345", **headers: str) -> httpx.Response:
    return one.post("/session", headers={"Authorization": f"Bearer {token}", **headers})


def write(one: httpx.Client, **headers: str) -> int:
    return one.post("/deliveries", content=b"[]", headers=headers).status_code


def test_a_token_is_changed_for_a_cookie_that_no_script_reads(rows: Rows) -> None:
    with serving(rows) as url, client(url) as one:
        answer = sign_in(one)
        assert (answer.status_code, answer.json()["roles"]) == (200, ["dispatch", "read"])
        cookie = answer.headers["set-cookie"]
        value = one.cookies[COOKIE]
    assert cookie == f"{COOKIE}={value}; HttpOnly; Max-Age=43200; Path=/; SameSite=Strict", "the contract's spelling"
    stored = rows.stored()
    assert len(stored) == 64
    assert value.encode() not in stored
    assert b"secret" not in stored


def test_under_tls_the_cookie_is_secure_and_of_this_host_alone(rows: Rows) -> None:
    with serving(rows) as url, client(url) as one:
        host = url.removeprefix("http://")
        cookie = sign_in(one, Origin=f"https://{host}", **PAGE).headers["set-cookie"]
        assert cookie.startswith(f"{SECURE_COOKIE}=")
        assert cookie.endswith("; SameSite=Strict; Secure")
        value = cookie.partition("=")[2].partition(";")[0]
        assert one.get("/pipeline", headers={"Cookie": f"{SECURE_COOKIE}={value}"}).status_code == 200
        assert one.get("/pipeline", headers={"Cookie": f"{SECURE_COOKIE}=another"}).status_code == 401


@pytest.mark.parametrize(
    ("signs", "admitted"),
    [
        ({"Origin": "https://ridelog.example", "Host": "ridelog.example"}, 401),
        ({"Origin": "https://another.example", "Host": "ridelog.example"}, 200),
        ({"X-Forwarded-Proto": "https"}, 401),
        ({"X-Forwarded-Proto": "http, HTTPS"}, 401),
        ({"Forwarded": 'for=10.0.0.7;proto="https";by=proxy'}, 401),
        ({"Sec-Fetch-Site": "same-origin", "Host": "ridelog.example"}, 401),
        ({"Sec-Fetch-Site": "none", "Host": "10.0.0.7:8000"}, 401),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Host": "localhost:8000"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Host": "[::1]:8000"}, 200),
        ({"X-Forwarded-Proto": "http", "Host": "ridelog.example"}, 200),
        ({"Host": "ridelog.example"}, 200),
    ],
)
def test_regression_with_tls_only_the_cookie_that_no_other_host_can_set_is_a_session(
    rows: Rows, signs: dict[str, str], admitted: int
) -> None:
    """A page of a sibling host could set the other one, and so show a person the session of another."""
    with serving(rows) as url, client(url) as one:
        sign_in(one)
        value = one.cookies[COOKIE]
        one.cookies.clear()
        for name, status in ((COOKIE, admitted), (SECURE_COOKIE, 200)):
            assert one.get("/pipeline", headers={"Cookie": f"{name}={value}", **signs}).status_code == status


@pytest.mark.parametrize("token", ["wrong", "page-secret"])
def test_a_wrong_token_gets_no_cookie(rows: Rows, token: str) -> None:
    with serving(rows) as url, client(url) as one:
        answer = sign_in(one, token)
        assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)


def test_a_session_writes_only_from_the_page_of_this_server(rows: Rows) -> None:
    """Given a session of role dispatch, when a write arrives, then its Origin and X-Ridelog decide: 400 is let in."""
    with serving(rows) as url, client(url) as one:
        sign_in(one)
        own = {"Origin": url}
        assert write(one, **own, **PAGE) == 400
        assert write(one, **own, **PAGE, **{"Sec-Fetch-Site": "same-origin"}) == 400
        refused = [
            {},
            PAGE,
            own,
            {**own, "X-Ridelog": "0"},
            {"Origin": "null", **PAGE},
            {"Origin": "https://evil.example", **PAGE},
            {"Origin": "http://127.0.0.1:1", **PAGE},
            {**own, **PAGE, "Sec-Fetch-Site": "same-site"},
            {**own, **PAGE, "Sec-Fetch-Site": "cross-site"},
        ]
        assert [write(one, **headers) for headers in refused] == [403] * len(refused)


def test_a_session_has_the_roles_of_its_token(rows: Rows) -> None:
    with serving(rows) as url, client(url) as one:
        sign_in(one, "reader-secret-1234")
        assert write(one, Origin=url, **PAGE) == 403
        assert one.get("/pipeline").status_code == 200


def test_a_token_that_was_removed_ends_its_sessions(rows: Rows) -> None:
    with serving(rows) as url, client(url) as one:
        sign_in(one)
        kept = one.cookies[COOKIE]
    with serving(rows, "read=another-secret-1") as url:
        answer = httpx.get(f"{url}/pipeline", headers={"Cookie": f"{COOKIE}={kept}"}, trust_env=False)
    assert answer.status_code == 401


def test_a_session_ends_when_it_is_deleted_and_after_its_time(rows: Rows) -> None:
    now = 0.0
    sessions = Sessions(rows, clock=lambda: now)
    with serving(rows, sessions=sessions) as url, client(url) as one:
        sign_in(one)
        cookie = {"Cookie": f"{COOKIE}={one.cookies[COOKIE]}"}
        assert one.get("/pipeline").status_code == 200
        assert one.delete("/session", headers={"Origin": url, **PAGE}).status_code == 204
        assert COOKIE not in one.cookies
        assert httpx.get(f"{url}/pipeline", headers=cookie, trust_env=False).status_code == 401
        sign_in(one)
        assert one.get("/pipeline").status_code == 200
        rows.expire()
        now += 60.0
        assert one.get("/pipeline").status_code == 401


def test_a_token_ends_its_own_oldest_sessions_and_none_of_another(make: Make) -> None:
    """Given a session of another token that ends first, when a token begins too many, then its own oldest end."""
    rows = make(max_token_sessions=3)
    rows.add(b"other", b"another token", 50)
    for number in range(6):
        rows.add(bytes([number]), b"token", 100 + number)
    assert [rows.token_of(bytes([number])) for number in range(6)] == [None] * 3 + [b"token"] * 3
    assert rows.token_of(b"other") == b"another token"


class HangingSessions(MemorySessions):
    """Answers no look-up of an unknown id until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_up: list[bytes] = []
        self.released = threading.Event()

    def token_of(self, id_hash: bytes) -> bytes | None:
        self.looked_up.append(id_hash)
        if id_hash not in self.rows:
            self.released.wait()
        return super().token_of(id_hash)


def test_a_flood_of_unknown_cookies_takes_no_thread_of_other_reads() -> None:
    """Given 100 look-ups that hang, when another read needs a thread of the loop, then it gets one."""
    rows = HangingSessions()
    sessions = Sessions(rows)

    async def flood() -> list[bytes | None]:
        waiting = [asyncio.create_task(sessions.token_of(secrets.token_urlsafe(ID_BYTES))) for _ in range(100)]
        try:
            await asyncio.sleep(0)  # each task has begun
            assert await asyncio.wait_for(asyncio.to_thread(str, 1), 60.0) == "1"
        finally:
            rows.released.set()
        return await asyncio.gather(*waiting)

    assert asyncio.run(flood()) == [None] * 100


def test_unknown_cookies_take_no_session_out_of_memory_and_others_are_not_looked_up() -> None:
    rows = HangingSessions()
    rows.released.set()
    sessions = Sessions(rows, clock=lambda: 0.0)

    async def ask() -> None:
        value, _ = await sessions.begin(b"token")
        known = [value] * 2 + [secrets.token_urlsafe(ID_BYTES) for _ in range(MAX_REMEMBERED + 1)] + [value]
        found = [await sessions.token_of(one) for one in known]
        assert [one for one in found if one is not None] == [hashed(b"token")] * 3
        assert rows.looked_up.count(hashed(value.encode())) == 1
        count = len(rows.looked_up)
        assert [await sessions.token_of(one) for one in ("", "x", value + "x", "é" * 43, "'" * 43)] == [None] * 5
        assert len(rows.looked_up) == count

    asyncio.run(ask())


def test_regression_a_look_up_that_began_before_the_end_of_its_session_does_not_bring_it_back() -> None:
    """The browser's other reads are under way while it ends its session: its cookie was valid for five seconds more."""
    read, ended = threading.Event(), threading.Event()

    class LateRows(MemorySessions):
        def token_of(self, id_hash: bytes) -> bytes | None:
            found = super().token_of(id_hash)
            read.set()
            assert ended.wait(10)
            return found

    async def run() -> list[bytes | None]:
        sessions = Sessions(LateRows())
        value, _ = await sessions.begin(b"a token")
        under_way = asyncio.create_task(sessions.token_of(value))
        assert await asyncio.to_thread(read.wait, 10)
        await sessions.end(value)
        ended.set()
        return [await under_way, await sessions.token_of(value)]

    assert asyncio.run(run()) == [hashed(b"a token"), None]


def test_a_program_with_a_token_needs_no_origin(rows: Rows) -> None:
    with serving(rows) as url, client(url) as one:
        token = {"Authorization": "Bearer both-secret-12345"}
        assert write(one, **token) == 400
        assert write(one, **token, Origin="https://another.example") == 400


def test_without_tokens_there_is_no_session(rows: Rows) -> None:
    with serving(rows, None) as url, client(url) as one:
        answer = sign_in(one)
        assert (answer.status_code, answer.json()["code"]) == (409, "no_tokens")


def test_without_tokens_a_program_writes_as_before_and_a_browser_from_this_page_only(rows: Rows) -> None:
    with serving(rows, None) as url, client(url) as one:
        port = url.rpartition(":")[2]
        assert write(one) == 400
        assert write(one, Origin=url, **PAGE) == 400
        assert write(one, Origin=f"http://localhost:{port}", Host=f"localhost:{port}", **PAGE) == 400
        refused = [
            {"Origin": url},
            {"Origin": f"http://localhost:{port}", **PAGE},
            {"Origin": "http://localhost:3000", **PAGE},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-origin", **PAGE},
        ]
        assert [write(one, **headers) for headers in refused] == [403] * len(refused)
