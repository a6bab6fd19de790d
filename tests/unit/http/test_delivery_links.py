"""A link for the customer shows one order until it expires, and opens nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from infrastructure.http.delivery_links import MAX_LIFETIME_S
from infrastructure.http.errors import ApiError
from infrastructure.http.link_tokens import LinkTokens
from infrastructure.timestamps import now_ms
from tests.support.http.recording_dispatch import RecordingDispatch


@pytest.fixture
def dispatch() -> RecordingDispatch:
    return RecordingDispatch()


def a_link(http: TestClient[Litestar], **body: Any) -> str:
    answer = http.post("/deliveries/order-7/link", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["path"])


def test_a_link_shows_one_order_without_a_token_a_rider_or_a_place(dispatch: RecordingDispatch) -> None:
    with dispatch.client("dispatcher") as client:
        made = client.post("/deliveries/order-7/link", json={"expires_in_seconds": 60})
        assert 0 < made.json()["expires_at_ms"] - now_ms() <= 60_000
        assert made.headers["cache-control"] == "no-store"
    with dispatch.client() as client:
        shown = client.get(made.json()["path"])
    assert shown.status_code == 200
    assert shown.json() == {
        "order_id": "order-7",
        "status": "assigned",
        "time_zone": "Europe/Berlin",
        "placed_at_ms": 1_790_000_000_000,
        "assigned_at_ms": 1_790_000_060_000,
        "picked_up_at_ms": None,
        "arrived_at_ms": None,
        "completed_at_ms": None,
        "cancelled_at_ms": None,
        "preparation_seconds": 600,
        "promised_seconds": None,
        "items": 3,
        "eta": {"p50_seconds": 300.75, "p90_seconds": 620.5, "at_ms": 1_790_000_070_000},
    }
    assert shown.headers["cache-control"] == "no-store"
    assert shown.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "error",
    [
        ApiError(404, "unknown_delivery", "no event of this order is served yet"),
        ApiError(409, "delivery_over", "the order is completed, and has no ETA"),
        ApiError(503, "read_model_unavailable", "Redis: redis://user@10.0.0.7", {"Retry-After": "1"}),
    ],
    ids=lambda error: error.code,
)
def test_an_order_without_an_eta_is_shown_without_it(dispatch: RecordingDispatch, error: ApiError) -> None:
    dispatch.eta = error
    with dispatch.client() as client:
        shown = client.get(f"/track/{dispatch.tokens.sign('order-7', now_ms() + 60_000)}")
    assert (shown.status_code, shown.json()["status"], shown.json()["eta"]) == (200, "assigned", None)
    assert "retry-after" not in shown.headers


@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_an_order_that_is_over_asks_for_no_eta(dispatch: RecordingDispatch, status: str) -> None:
    """The read model of the ETA may be a moment behind, and would count down for an order that was handed over."""
    dispatch.snapshot = replace(dispatch.snapshot, status=status)
    with dispatch.client() as client:
        shown = client.get(f"/track/{dispatch.tokens.sign('order-7', now_ms() + 60_000)}")
    assert (shown.json()["status"], shown.json()["eta"]) == (status, None)
    assert dispatch.etas_asked == []


def test_a_link_that_opens_nothing_asks_for_no_eta(dispatch: RecordingDispatch) -> None:
    with dispatch.client() as client:
        for token in (dispatch.tokens.sign("order-7", now_ms()), dispatch.tokens.sign("order-8", now_ms() + 60_000)):
            assert client.get(f"/track/{token}").status_code == 404
    assert dispatch.etas_asked == []


def test_forged_expired_and_foreign_links_are_all_the_same_404(dispatch: RecordingDispatch) -> None:
    tokens, soon = dispatch.tokens, now_ms() + 60_000
    good = tokens.sign("order-7", soon)
    wrong = [
        tokens.sign("order-7", now_ms()),
        tokens.sign("order-8", soon),  # an order that is not there
        LinkTokens("another secret of the tests, long enough").sign("order-7", soon),
        good[:-1],
        good + "A",
        good.upper(),
        f"{tokens.sign('order-8', soon).rpartition('.')[0]}.{good.rpartition('.')[2]}",
        "x" * 5_000,
        "order-7",
    ]
    with dispatch.client() as client:
        assert client.get(f"/track/{good}").status_code == 200
        answers = [client.get(f"/track/{token}") for token in wrong]
        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.text for answer in answers}) == 1
        assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}


def test_a_link_opens_nothing_else(dispatch: RecordingDispatch) -> None:
    with dispatch.client("dispatcher") as client:
        path = a_link(client)
    token = path.rpartition("/")[2]
    with dispatch.client() as client:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert client.request(method, path).status_code == 405
        assert client.get(f"{path}/pickup").status_code == 404
        for headers in ({"Authorization": f"Bearer {token}"}, {"Authorization": f"Basic {token}"}):
            assert client.get("/deliveries/order-7", headers=headers).status_code == 401
            assert client.post("/deliveries/order-7/cancel", headers=headers).status_code == 401
    assert dispatch.commands == []


def test_a_link_is_made_for_an_order_that_is_there_and_for_a_bounded_time(dispatch: RecordingDispatch) -> None:
    with dispatch.client("dispatcher") as http:
        unknown = http.post("/deliveries/order-8/link")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_delivery")
        for seconds, code in ((0, "out_of_range"), (MAX_LIFETIME_S + 1, "out_of_range"), ("60", "invalid_type")):
            answer = http.post("/deliveries/order-7/link", json={"expires_in_seconds": seconds})
            assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_link_of_which_the_order_cannot_be_read_now_is_503(dispatch: RecordingDispatch) -> None:
    with dispatch.client() as client:
        answer = client.get(f"/track/{dispatch.tokens.sign('order-off', now_ms() + 60_000)}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    # Anybody may hold the link: the address, the port and the user of the database are not theirs to read.
    assert "Postgres" not in answer.text
    assert "order-off" not in answer.text
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
