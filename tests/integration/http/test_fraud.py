"""Alerts at ``/fraud`` on a filled database: lists and pages of two kinds, and one with its evidence."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import httpx
import pytest

from domain.features.case_file import (
    COMPLETION,
    SPOOFING,
    case_bytes,
)
from infrastructure.embedded.postgres import Postgres
from tests.integration.http.filled_fraud_desk import (
    CASES,
    IDS,
    PLACE_OF,
    REVIEW,
    STATUS_OF,
    FraudDesk,
    client,
    expected,
    fraud_desk,
    kind_of,
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


def listed(http: httpx.Client, **query: Any) -> list[str]:
    """The ids of all pages of a list, of four alerts each."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = http.get("/fraud/alerts", params={"limit": 4, **query} | ({"cursor": cursor} if cursor else {}))
        assert page.status_code == 200, page.text
        found += [item["alert_id"] for item in page.json()["items"]]
        cursor = page.json()["next"]
        if cursor is None:
            return found


def test_both_kinds_are_in_one_list_in_the_order_of_raising(http: httpx.Client) -> None:
    assert listed(http) == expected(lambda n: True)
    (item,) = http.get("/fraud/alerts", params={"limit": 1}).json()["items"]
    number = IDS.index(item["alert_id"])
    assert item == {
        "alert_id": IDS[number],
        "kind": kind_of(number),
        "rider_id": f"rider-{number % 4}",
        "status": status_of(number),
        "score": 80,
        "signals": ["frozen_position", "mock_flag"],
        "raised_at_ms": NOW_MS,
        "latest_at_ms": NOW_MS + 500,
        "order_id": "order-7",
        "leg": "to_customer",
        "position": 95 + number,
        "raised_position": 90 + number,
        "fold_version": 1,
        "generation": 2,
    }


@pytest.mark.parametrize("status", STATUS_OF)
def test_the_status_is_the_verdict_of_the_latest_review(http: httpx.Client, status: str) -> None:
    assert listed(http, status=status) == expected(lambda n: status_of(n) == status)


def test_a_list_of_a_rider_and_since_an_instant(http: httpx.Client) -> None:
    assert listed(http, rider_id="rider-3") == expected(lambda n: n % 4 == 3)
    assert listed(http, since=NOW_MS + 7_000) == expected(lambda n: n // 2 >= 7)
    assert listed(http, rider_id="rider-1", status="open", since=NOW_MS + 5_000) == expected(
        lambda n: n % 4 == 1 and n % 3 == 0 and n // 2 >= 5
    )
    assert listed(http, rider_id="no\0body") == listed(http, rider_id="nobody") == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"status": "guilty"}, "invalid_status"),
        ({"limit": "0"}, "invalid_limit"),
        ({"since": "soon"}, "invalid_time"),
        ({"cursor": "x"}, "invalid_cursor"),
    ],
)
def test_an_invalid_query_is_400_by_name(http: httpx.Client, query: dict[str, str], code: str) -> None:
    answer = http.get("/fraud/alerts", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_an_alert_has_its_evidence_its_reasons_and_its_reviews(http: httpx.Client) -> None:
    number, case = 5, CASES[5]
    assert (kind_of(number), status_of(number)) == (SPOOFING, "cleared")
    answer = http.get(f"/fraud/alerts/{case.alert_id.upper()}")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [reason["signal"] for reason in body["reasons"]] == ["mock_flag", "frozen_position"]
    assert body["reasons"][1]["measured"] == {
        "fixes": 4, "seconds": 25.0, "device_least_m": 110, "speed_changes": 4
    }  # fmt: skip
    assert body["reasons"][0]["evidence"] == [case.window[0].event_id]
    assert "Location.isMock" in body["reasons"][0]["why"]
    assert body["reasons"][0]["clears"].startswith("Fixes without that flag.")
    assert body["window"] == [case.window[0]._asdict()]
    assert [(review["verdict"], review["why"]) for review in body["reviews"]] == [
        ("confirmed", "reason 1"), ("cleared", "reason 2")
    ]  # fmt: skip
    assert body["reviews"][1]["position"] == 1_002
    assert body["file_sha256"] == sha256(case_bytes(case)).hexdigest()
    assert body["replay"] == f"python app.py replay spoofing --case {case.alert_id}"


def test_a_case_of_a_wrong_address_shows_it_as_the_places_fault(http: httpx.Client) -> None:
    """The fold reads one rider, so it raises the case; what all riders did at the place is read beside it."""
    wrong = http.get(f"/fraud/alerts/{IDS[4]}").json()["place"]
    assert (wrong["place"], wrong["stops"], wrong["offset_m"], wrong["far_share"]) == (PLACE_OF[0], 6, 200.0, 1.0)
    assert wrong["offset_known"]
    assert "the address is wrong until a person finds otherwise" in wrong["words"]
    right = http.get(f"/fraud/alerts/{IDS[9]}").json()["place"]
    assert (right["stops"], right["offset_m"], right["offset_known"]) == (6, 2.0, False)
    assert http.get(f"/fraud/alerts/{IDS[0]}").json()["place"] is None


def test_an_alert_of_the_other_kind_names_its_projection(http: httpx.Client) -> None:
    body = http.get(f"/fraud/alerts/{IDS[4]}").json()
    assert (body["kind"], body["generation"]) == (COMPLETION, 3)
    assert body["replay"].startswith("python app.py replay completion --case ")


@pytest.mark.parametrize("unknown", ["00000000-0000-5000-8000-000000000000", "x", "%00", "%ED%A0%80", "x" * 3_000])
def test_an_unknown_alert_is_404(http: httpx.Client, unknown: str) -> None:
    for answer in (http.get(f"/fraud/alerts/{unknown}"), http.post(f"/fraud/alerts/{unknown}/review", json=REVIEW)):
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_alert")
