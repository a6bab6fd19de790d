"""What a client without a token is shown while servers fail: which stage, never the servers' own text."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.testing import TestClient
from sqlalchemy import create_engine

from infrastructure.http.application import ApiParts, build, node_application
from infrastructure.http.health import OK, ready_checks, stage_health
from infrastructure.http.sessions import COOKIE, ID_BYTES, Sessions
from infrastructure.observability.flink_cluster import FlinkCluster
from infrastructure.observability.stage_reports import StageProgress, StageReport
from infrastructure.redis.connection import connect_async
from infrastructure.settings.settings import Settings
from projections.core.ports import PortUnavailable
from tests.support.worlds.recorded_events import nothing

TOKENS: Final = "read=reader-secret-1234,metrics=scrape-secret-123,ingest=phone-secret-12345,admin=admin-secret-12345"
PORT: Final = 1
"""No server listens there: every connection is refused, and the client's error names address and port."""
SECRETS: Final = ("127.0.0.1", "port 1", ":1/", "db.internal", "owner_of_all", "customers")
SAID: Final = 'connection to server at "db.internal" failed: no entry for user "owner_of_all", database "customers"'


class UnavailableSessions:
    """The table of sessions while Postgres rejects every connection."""

    def add(self, id_hash: bytes, token_hash: bytes, seconds: float) -> int:
        raise PortUnavailable(f"Postgres: {SAID}")

    def token_of(self, id_hash: bytes) -> bytes | None:
        raise PortUnavailable(f"Postgres: {SAID}")

    def delete(self, id_hash: bytes) -> None:
        raise PortUnavailable(f"Postgres: {SAID}")


def application(settings: Settings, *, failed_append: Callable[[], str] = lambda: "") -> Litestar:
    """The API with every server unavailable."""
    checks = ready_checks(
        create_engine(f"postgresql+psycopg2://owner_of_all@127.0.0.1:{PORT}/customers"),
        connect_async(f"redis://127.0.0.1:{PORT}/0"),
        ("tailer",),
        failed_append=failed_append,
        flink=FlinkCluster(f"http://127.0.0.1:{PORT}", "", clock=lambda: 0.0),
    )
    absent = cast("Any", None)
    sessions = Sessions(UnavailableSessions())
    parts = ApiParts(absent, absent, absent, lambda: None, lambda _: None, checks, nothing, sessions=sessions)
    return build(settings, parts)


@pytest.fixture
def http() -> Iterator[TestClient[Litestar]]:
    with TestClient(application(Settings(tokens=TOKENS))) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def requests_of(app: Litestar) -> list[tuple[str, str]]:
    """Method and path of every route."""
    found = []
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler):
                path = route.path_format.replace("{", "").replace("}", "")
                found += [(str(method), path) for method in handler.http_methods if str(method) != "OPTIONS"]
    return found


def test_regression_no_answer_without_a_token_quotes_a_server(http: TestClient[Litestar]) -> None:
    """``/health/ready`` quoted Postgres' error, and so did every route for a cookie that any client can make up."""
    asked = requests_of(http.app)
    assert {("GET", "/health/ready"), ("GET", "/"), ("GET", "/metrics"), ("POST", "/session"), ("GET", "/schema")} <= {
        *asked
    }
    unavailable = 0
    for cookie in ("", f"{COOKIE}={secrets.token_urlsafe(ID_BYTES)}"):
        for method, path in asked:
            answer = http.request(method, path, headers={"Cookie": cookie} if cookie else {})
            unavailable += answer.status_code == 503
            assert not [secret for secret in SECRETS if secret in answer.text], (method, path, answer.text)
    assert unavailable > 2, "no request met an unavailable server"


def test_a_client_without_a_token_sees_which_stages_fail_and_where_the_reason_is(
    http: TestClient[Litestar], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ridelog.http"):
        answer = http.get("/health/ready")
    assert answer.status_code == 503
    stages = answer.json()["stages"]
    assert stages == {
        "postgres": "Postgres does not answer: the log of this node says why",
        "redis": "Redis does not answer: the log of this node says why",
        "flink": "the cluster does not answer: the log of this node says why",
        "tailer": "Postgres does not answer: the log of this node says why",
    }
    assert answer.json()["detail"] == "; ".join(f"{name}: {fault}" for name, fault in stages.items())
    logged = [record.getMessage() for record in caplog.records]
    assert {line.split(":")[1].strip() for line in logged} == set(stages)
    assert all("127.0.0.1" in line for line in logged), logged


def test_the_log_has_one_line_a_stage_however_often_health_is_asked(
    http: TestClient[Litestar], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ridelog.http"):
        for _ in range(5):
            http.get("/health/ready")
    assert len(caplog.records) == 4


@pytest.mark.parametrize("token", ["reader-secret-1234", "scrape-secret-123", "admin-secret-12345"])
def test_the_token_of_an_operator_is_shown_everything(http: TestClient[Litestar], token: str) -> None:
    stages = http.get("/health/ready", headers=bearer(token)).json()["stages"]
    assert all("127.0.0.1" in fault for fault in stages.values()), stages


@pytest.mark.parametrize("token", ["phone-secret-12345", "no-secret-of-this-node"])
def test_the_token_of_a_phone_and_an_unknown_one_are_shown_no_more_than_none(
    http: TestClient[Litestar], token: str
) -> None:
    answer = http.get("/health/ready", headers=bearer(token))
    assert answer.json() == http.get("/health/ready").json()


def test_without_tokens_this_machine_is_shown_everything() -> None:
    with TestClient(application(Settings(port=0)), base_url="http://127.0.0.1") as client:
        stages = client.get("/health/ready").json()["stages"]
    assert all("127.0.0.1" in fault for fault in stages.values()), stages


def test_a_node_without_an_api_hides_the_same() -> None:
    settings = Settings(tokens=TOKENS)
    checks = ready_checks(create_engine(f"postgresql+psycopg2://owner_of_all@127.0.0.1:{PORT}/customers"), None, ())
    with TestClient(node_application(settings, checks, nothing)) as client:
        hidden, shown = (
            client.get("/health/ready").text,
            client.get("/health/ready", headers=bearer("admin-secret-12345")),
        )
    assert "127.0.0.1" not in hidden
    assert "127.0.0.1" in shown.json()["detail"]


def test_what_an_append_and_a_stage_said_is_for_operators() -> None:
    with TestClient(application(Settings(tokens=TOKENS), failed_append=lambda: SAID)) as client:
        public = client.get("/health/ready").json()["stages"]["postgres"]
        full = client.get("/health/ready", headers=bearer("reader-secret-1234")).json()["stages"]["postgres"]
    assert (public, full) == ("the last append failed: the log of this node says why", SAID)
    found = stage_health(StageReport("tailer", "here", 1.0, StageProgress(state=SAID)))
    assert (found.shown, found.in_full) == ("does not run: the log of this node says why", SAID)


@pytest.mark.parametrize(
    ("report", "shown"),
    [
        (None, "has never reported: is it running?"),
        (StageReport("tailer", "here", 1.0, StageProgress()), "ok"),
        (StageReport("tailer", "here", 1.0, StageProgress(), alive=False), "its process has ended"),
        (StageReport("tailer", "here", 99.0, StageProgress()), "silent for 99 s"),
    ],
)
def test_what_is_wrong_with_a_stage_by_our_own_words_is_for_all(report: StageReport | None, shown: str) -> None:
    found = stage_health(report)
    assert (found.shown, found.in_full, found == OK) == (shown, "", shown == "ok")
