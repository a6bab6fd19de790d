"""Tokens and roles of the HTTP API, and what is open beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.ridelog import ridelog as running

TOKENS = (
    "ingest=in-secret,read=out-secret,admin=root-secret,metrics=scrape-secret,"
    "dispatch=orders-secret,read+dispatch=both-secret"
)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ridelog]:
    with running(tmp_path_factory.mktemp("tokens") / "data", tokens=TOKENS) as one:
        yield one


@pytest.mark.parametrize(
    ("method", "path", "token", "status"),
    [
        ("POST", "/pings", None, 401),
        ("POST", "/pings", "wrong", 401),
        ("POST", "/pings", "out-secret", 403),
        ("POST", "/pings", "in-secret", 400),
        ("POST", "/pings", "root-secret", 400),
        ("GET", "/riders/x/speed", None, 401),
        ("GET", "/riders/x/speed", "in-secret", 403),
        ("GET", "/riders/x/speed", "out-secret", 404),
        ("GET", "/metrics", None, 401),
        ("GET", "/metrics", "out-secret", 200),
        ("GET", "/metrics", "scrape-secret", 200),
        ("GET", "/metrics", "root-secret", 200),
        ("GET", "/metrics", "both-secret", 200),
        ("GET", "/metrics", "in-secret", 403),
        ("GET", "/metrics", "orders-secret", 403),
        ("GET", "/riders/x/speed", "scrape-secret", 403),
        ("GET", "/riders/x/speed", "both-secret", 404),
        ("GET", "/analytics/fleet", "scrape-secret", 403),
        ("POST", "/pings", "scrape-secret", 403),
        ("POST", "/deliveries", None, 401),
        ("POST", "/deliveries", "out-secret", 403),
        ("POST", "/deliveries", "orders-secret", 400),
        ("POST", "/deliveries/x/pickup", "both-secret", 404),
        ("POST", "/deliveries/x/pickup", "in-secret", 403),
        ("POST", "/deliveries/x/link", "out-secret", 403),
        ("POST", "/deliveries/x/link", "orders-secret", 404),
        ("GET", "/deliveries", "orders-secret", 403),
        ("GET", "/deliveries", "out-secret", 200),
        ("GET", "/deliveries/x", "both-secret", 404),
        ("GET", "/track/x", None, 404),
        ("GET", "/", None, 200),
        ("GET", "/schema", None, 200),
        ("GET", "/health/live", None, 200),
        ("GET", "/health/ready", None, 200),
    ],
)
def test_each_role_may_use_its_own_routes(
    guarded: Ridelog, method: str, path: str, token: str | None, status: int
) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    answer = guarded.http.request(method, path, headers=headers)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["code"] == "unauthorized"


def test_refusals_are_counted_and_logged_once_a_minute_and_client(guarded: Ridelog) -> None:
    for _ in range(20):
        guarded.http.get("/riders/x/speed", headers={"Authorization": "Bearer wrong-secret"})
    shown = guarded.http.get("/metrics", headers={"Authorization": "Bearer scrape-secret"}).text
    counted = {
        status: float(line.rsplit(" ", 1)[1])
        for line in shown.splitlines()
        for status in ("401", "403")
        if line.startswith(f'ridelog_http_denied_total{{status="{status}"}}')
    }
    assert counted["401"] >= 20
    assert "403" in counted
    log = (guarded.data_dir / "logs" / "api.log").read_text()
    lines = [line for line in log.splitlines() if "401 unauthorized" in line or "403 forbidden" in line]
    assert 1 <= len(lines) <= 3, lines
    assert "from 127.0.0.1" in lines[0]


def test_no_token_is_in_any_log(guarded: Ridelog) -> None:
    guarded.http.post("/pings", headers={"Authorization": "Bearer in-secret"})
    for log in (guarded.data_dir / "logs").iterdir():
        assert "-secret" not in log.read_text(errors="replace"), log
    assert "-secret" not in guarded.cli("config", "show").stdout


def test_an_open_broker_with_tokens_is_reported_at_the_start_and_in_status(guarded: Ridelog) -> None:
    output = guarded.data_dir.with_name(f"{guarded.data_dir.name}.serve.log").read_text()
    assert output.count("the embedded Kafka broker has no login") == 1
    shown = json.loads(guarded.ask("status", "--json").stdout)
    assert "open to each local user" in next(line["state"] for line in shown["stages"] if line["stage"] == "kafka")


def test_off_loopback_without_tokens_serve_refuses_to_start(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
    done = subprocess.run(
        [sys.executable, "app.py", "serve", "--host", "0.0.0.0", "--port", "0", "--data-dir", str(tmp_path / "data")],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=scaled_s(30),
        check=False,
    )
    assert done.returncode == 1
    assert "RIDELOG_TOKENS" in done.stderr
