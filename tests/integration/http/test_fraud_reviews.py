"""Reviews of alerts, what a rider may read, and the roles of ``/fraud``, on a filled database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, text

from domain.identifiers import aggregate_id
from infrastructure.embedded.postgres import Postgres
from read_models.fraud.queries import MAX_REVIEWS
from read_models.fraud.tables import fraud_reviews
from tests.integration.http.filled_fraud_desk import (
    IDS,
    REVIEW,
    FraudDesk,
    a_review_row,
    client,
    expected,
    fraud_desk,
    status_of,
)
from tests.unit.domain.given import NOW_MS


@pytest.fixture(scope="module")
def desk(migrated_postgres: Postgres) -> Iterator[FraudDesk]:
    with fraud_desk(migrated_postgres) as one:
        yield one


@pytest.fixture(scope="module")
def http(desk: FraudDesk) -> Iterator[httpx.Client]:
    with client(desk.url, "reviews") as one:
        yield one


def test_a_review_is_recorded_on_the_riders_stream_once(http: httpx.Client, desk: FraudDesk) -> None:
    riders, counted = desk.riders, desk.counted
    counted.clear()
    path = f"/fraud/alerts/{IDS[8]}/review"
    first, again = (http.post(path, json=REVIEW).json() for _ in range(2))
    assert first == {
        "alert_id": IDS[8], "rider_id": "rider-0", "verdict": "cleared", "recorded": True, "position": first["position"]
    }  # fmt: skip
    assert again == first | {"recorded": False, "position": None}
    keyed = [http.post(path, json=REVIEW | {"why": "seen again"}, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.json()["recorded"] for answer in keyed] == [True, False]
    other = http.post(path, json=REVIEW | {"verdict": "confirmed"}, headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    (event,) = riders.recorder.select_notifications(first["position"], 1)
    assert (event.topic, event.originator_id) == ("AlertReviewed", aggregate_id("Rider", "rider-0"))
    assert counted == [
        ("review", "recorded"), ("review", "repeated"), ("review", "recorded"), ("review", "repeated"),
        ("review", "idempotency_conflict"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_type"),
        (REVIEW | {"verdict": "guilty"}, "invalid_verdict"),
        (REVIEW | {"verdict": 5}, "invalid_type"),
        ({"verdict": "cleared", "by": "mara"}, "invalid_type"),
        ({"verdict": "cleared", "why": "a tunnel"}, "invalid_type"),
        (REVIEW | {"by": "  "}, "invalid_type"),
        (REVIEW | {"why": "x" * 1_001}, "invalid_type"),
        (REVIEW | {"at": "soon"}, "invalid_type"),
        (REVIEW | {"at": 1}, "timestamp_too_old"),
        ([], "invalid_type"),
    ],
)
def test_an_invalid_review_is_400_by_name_and_records_nothing(
    http: httpx.Client, desk: FraudDesk, body: Any, code: str
) -> None:
    before = desk.riders.recorder.max_notification_id()
    answer = http.post(f"/fraud/alerts/{IDS[0]}/review", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert desk.riders.recorder.max_notification_id() == before


def test_a_rider_of_whom_the_log_has_no_event_cannot_be_reviewed(http: httpx.Client) -> None:
    """An alert of a log that was restored to an earlier state."""
    answer = http.post(f"/fraud/alerts/{IDS[3]}/review", json=REVIEW)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_rider")


def test_a_rider_is_told_reasons_and_reviews_and_no_score(http: httpx.Client) -> None:
    page = http.get("/riders/rider-1/fraud", params={"limit": 2}).json()
    assert page["rider_id"] == "rider-1"
    assert [item["alert_id"] for item in page["items"]] == expected(lambda n: n % 4 == 1)[:2]
    first = page["items"][0]
    assert set(first) == {"alert_id", "raised_at_ms", "status", "status_text", "order_id", "reasons", "reviews"}
    assert first["status"] == status_of(1) == "confirmed"
    assert first["status_text"] == (
        "A person has reviewed this and holds it to be right. "
        "Nothing follows from it by itself: it changes no assignment and no pay."
    )
    assert [set(reason) for reason in first["reasons"]] == [{"why", "clears"}] * 2
    assert first["reviews"] == [{"verdict": "confirmed", "by": "mara", "why": "reason 1", "at_ms": NOW_MS + 1}]
    rest = http.get("/riders/rider-1/fraud", params={"cursor": page["next"]}).json()
    assert [item["alert_id"] for item in rest["items"]] == expected(lambda n: n % 4 == 1)[2:]
    assert rest["next"] is None


def test_a_rider_without_alerts_has_an_empty_list_and_an_unknown_one_is_404(http: httpx.Client) -> None:
    assert http.get("/riders/honest/fraud").json() == {"rider_id": "honest", "items": [], "next": None}
    for unknown in ("nobody", "%00", "%ED%A0%80"):
        answer = http.get(f"/riders/{unknown}/fraud")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_rider")


def test_reading_needs_read_or_review_and_a_review_needs_review(desk: FraudDesk) -> None:
    paths = ("/fraud/alerts", f"/fraud/alerts/{IDS[0]}", "/riders/rider-1/fraud")
    for token, status in (("reads", 200), ("reviews", 200), ("drives", 403)):
        with client(desk.url, token) as one:
            assert [one.get(path).status_code for path in paths] == [status] * 3
    for token, status in (("reads", 403), ("drives", 403), ("none", 401)):
        with client(desk.url, token) as one:
            assert one.post(f"/fraud/alerts/{IDS[0]}/review", json=REVIEW).status_code == status


def test_invariant_15_the_latest_reviews_of_an_alert_are_shown(desk: FraudDesk, http: httpx.Client) -> None:
    number = 0
    with desk.database.begin() as connection:
        many = [a_review_row(number, 100 + nth, "confirmed") for nth in range(MAX_REVIEWS + 5)]
        connection.execute(insert(fraud_reviews), many)
    try:
        shown = http.get(f"/fraud/alerts/{IDS[number]}").json()["reviews"]
        assert [review["why"] for review in shown] == [f"reason {105 + nth}" for nth in range(MAX_REVIEWS)]
    finally:
        with desk.database.begin() as connection:
            connection.execute(text("DELETE FROM fraud_reviews WHERE position >= 1100"))
