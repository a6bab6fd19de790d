"""Which requests a server without tokens accepts, and the links of ``GET /``. Over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import httpx
import pytest

from domain.gps_ping import GpsPing
from domain.riders.application import PingOutcome
from infrastructure.http.application import ApiParts, build
from infrastructure.http.deliveries import deliveries_router
from infrastructure.http.events import events_route
from infrastructure.http.fraud import fraud_routes
from infrastructure.http.payouts import payout_routes
from infrastructure.settings.settings import Settings
from tests.support.servers.http_server import served

PING = {"rider_id": "anna", "latitude": 1.0, "longitude": 2.0, "event_timestamp_ms": 1_700_000_000_000}
recorded: list[GpsPing] = []


async def submit(pings: Sequence[GpsPing]) -> list[PingOutcome]:
    recorded.extend(pings)
    return [PingOutcome(position, is_new=True) for position, _ in enumerate(pings, start=1)]


async def nothing() -> None:
    """No gauge needs a refresh."""


def serving(**settings: str) -> Iterator[str]:
    recorded.clear()
    # No test here reads a speed, a delivery, an event, an alert or a payout.
    absent = cast("Any", None)
    deliveries = deliveries_router(absent, absent, lambda verb, outcome: None)
    routers = [deliveries, events_route(absent, absent), *fraud_routes(absent, absent), *payout_routes(absent, absent)]
    parts = ApiParts(submit, absent, absent, lambda: None, lambda read: None, {}, nothing, routers=routers)
    with served(build(Settings(**cast("Any", settings)), parts)) as url:
        yield url


@pytest.fixture
def url() -> Iterator[str]:
    yield from serving()


@pytest.fixture
def guarded_url() -> Iterator[str]:
    yield from serving(tokens="ingest=secret")


def post(url: str, **headers: str) -> httpx.Response:
    return httpx.post(f"{url}/pings", json=PING, headers=headers, trust_env=False)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:8000", "[::1]:8000"])
def test_a_request_for_this_machine_is_served_without_tokens(url: str, host: str) -> None:
    assert post(url, host=host).status_code == 200
    own = {"host": host, "origin": f"http://{host}"}
    assert post(url, **own, **{"x-ridelog": "1"}).status_code == 200
    assert len(recorded) == 2


def test_without_tokens_a_page_of_another_port_of_this_machine_does_not_post(url: str) -> None:
    answer = post(url, origin="http://localhost:3000")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_origin")
    assert recorded == []


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:8000"},
        {"host": "localhost.evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost@evil.example"},
        {"host": "[::1"},
        {"host": "0.0.0.0"},
        {"origin": "https://evil.example"},
        {"origin": "http://localhost.evil.example:8000"},
        {"origin": "null"},
    ],
)
def test_without_tokens_a_page_of_another_site_neither_posts_nor_reads(url: str, headers: dict[str, str]) -> None:
    for answer in (post(url, **headers), httpx.get(f"{url}/riders/anna/speed", headers=headers, trust_env=False)):
        assert answer.status_code == 403
        assert answer.json()["code"] == "forbidden_host"
        assert "RIDELOG_TOKENS" in answer.json()["detail"]
    assert recorded == []


def test_with_tokens_the_token_decides_and_not_the_host(guarded_url: str) -> None:
    headers = {"host": "ridelog.example", "origin": "https://map.example"}
    assert post(guarded_url, **headers).status_code == 401
    assert post(guarded_url, authorization="Bearer secret", **headers).status_code == 200


def test_off_loopback_every_host_is_accepted() -> None:
    for url in serving(host="0.0.0.0"):
        assert post(url, host="ridelog.example").status_code == 200


def test_the_links_of_the_index_exist(url: str) -> None:
    answer = httpx.get(url, trust_env=False).json()
    paths = httpx.get(f"{url}/schema", trust_env=False).json()["paths"]
    for name, link in answer["links"].items():
        assert link in paths or httpx.get(url + link, trust_env=False).status_code == 200, name


def test_no_page_loads_anything_from_the_network(url: str) -> None:
    for path in ("/", "/schema", "/schema/openapi.json", "/health/live"):
        answer = httpx.get(url + path, trust_env=False)
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] == "application/json"
    for path in ("/schema/swagger", "/schema/redoc", "/schema/elements", "/schema/rapidoc"):
        assert httpx.get(url + path, trust_env=False).status_code == 404
