"""The OpenAPI description covers every answer of every route, for valid, invalid and random requests."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.reports.openapi_description import undescribed
from tests.support.worlds.ridelog import Ridelog

STRANGE = ("", "0", "-1", "null", "\0", "a b", "é", "🚲", "%", "'", '"', "9" * 30, "1e999", "2026-13-45", "x" * 300)


@pytest.fixture(scope="module")
def description(ridelog: Ridelog) -> dict[str, Any]:
    found: dict[str, Any] = ridelog.http.get("/schema/openapi.json").json()
    return found


def filled(template: str, value: str) -> str:
    """The path with ``value`` for each of its parameters."""
    return re.sub(r"\{\w+\}", lambda _: value, template)


def check(description: dict[str, Any], method: str, template: str, answer: httpx.Response) -> None:
    assert answer.status_code < 500, (method, answer.request.url, answer.text)
    assert undescribed(description, method, template, answer) == [], (method, str(answer.request.url), answer.text)


def test_every_route_describes_its_errors_and_their_schema(description: dict[str, Any]) -> None:
    error = description["components"]["schemas"]["ErrorBody"]
    assert set(error["required"]) == {"code", "detail"}
    for template, operations in description["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                if int(status) >= 400 and (template, status) != ("/health/ready", "503"):
                    schema = response["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorBody"}, (method, template, status)


def test_strange_parameters_are_answered_as_described(ridelog: Ridelog, description: dict[str, Any]) -> None:
    for template, operations in description["paths"].items():
        operation = operations.get("get")
        if operation is None:
            continue
        names = [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]
        for strange in STRANGE:
            path = filled(template, quote(strange or "x", safe=""))
            check(description, "get", template, ridelog.http.get(path))
            for name in names:
                check(description, "get", template, ridelog.http.get(path, params={name: strange}))
                check(description, "get", template, ridelog.http.get(path, params={name: [strange, strange]}))


def test_valid_requests_are_answered_as_described(ridelog: Ridelog, description: dict[str, Any], rider: str) -> None:
    ping = {"rider_id": rider, "latitude": 52.5, "longitude": 13.4, "event_timestamp_ms": 1_700_000_000_000}
    answer = ridelog.http.post("/pings", json=[ping, ping, {**ping, "latitude": 200}])
    assert answer.json()["accepted"] == 1
    check(description, "post", "/pings", answer)
    too_many = ridelog.http.post("/pings", json=[{}] * 10_001)
    assert too_many.status_code == 413
    check(description, "post", "/pings", too_many)


def test_any_body_is_answered_as_described(ridelog: Ridelog, description: dict[str, Any]) -> None:
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    values = st.recursive(
        leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner), max_leaves=9
    )
    fields = st.fixed_dictionaries(
        dict.fromkeys(("rider_id", "latitude", "longitude", "event_timestamp_ms"), leaves),
        optional=dict.fromkeys(("accuracy_meters", "speed_mps", "event_id", "source_service"), values),
    )
    bodies = st.binary(max_size=50) | (values | fields | st.lists(fields)).map(lambda value: json.dumps(value).encode())

    @settings(max_examples=150)
    @given(bodies)
    def post(body: bytes) -> None:
        check(description, "post", "/pings", ridelog.http.post("/pings", content=body))

    post()


REGISTRY = (
    "/registry/",
    "/registry/subjects",
    "/registry/schemas/types",
    "/registry/config",
    "/registry/mode",
    "/registry/subjects/com.delivery.events.GpsPing/versions",
    "/registry/subjects/com.delivery.events.GpsPing/versions/latest",
    "/registry/subjects/nobody/versions",
    "/registry/nothing",
)


def test_regression_head_is_answered_wherever_get_is(ridelog: Ridelog, description: dict[str, Any], rider: str) -> None:
    """HEAD once got 405 everywhere. RFC 9110, 9.3.2: the same status and headers as GET, without the body."""
    paths = [filled(path, rider) for path, routes in description["paths"].items() if "get" in routes]
    ridelog.post([{"rider_id": rider, "latitude": 52.5, "longitude": 13.4, "event_timestamp_ms": 1_700_000_000_000}])
    for path in (*paths, *REGISTRY, "/schema", "/nowhere"):
        # A fold, or a number that grows, changes the answer between two requests: those before and after must agree.
        for _ in range(20):
            before, head, got = ridelog.http.get(path), ridelog.http.head(path), ridelog.http.get(path)
            if (before.status_code, len(before.content)) == (got.status_code, len(got.content)):
                break
        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert head.status_code != 405
        assert set(head.headers) == set(got.headers), path
        assert head.headers["content-type"] == got.headers["content-type"], path
        if path != "/metrics":  # its numbers change with every request
            assert head.headers["content-length"] == got.headers["content-length"], path
    assert ridelog.http.head("/pings").status_code == 405


def test_outside_a_demo_there_is_nothing_that_breaks(ridelog: Ridelog) -> None:
    assert ridelog.http.get("/demo").status_code == 404
    assert ridelog.http.post("/demo/break", json={"target": "redis", "how": "kill"}).status_code == 404
    paths = ridelog.http.get("/schema/openapi.json").json()["paths"]
    assert not [path for path in paths if path.startswith("/demo")]
    assert ridelog.http.get("/pipeline").json()["demo"] is False
