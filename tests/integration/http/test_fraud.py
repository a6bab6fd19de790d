"""``/fraud`` on a filled database: lists and pages of two kinds of alerts, one with its evidence, reviews, a rider."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

import httpx
import pytest
from litestar import Litestar
from sqlalchemy import Engine, insert, text

from domain.events.contracts import Codec
from domain.features.case_file import (
    COMPLETION,
    SPOOFING,
    CaseFile,
    CaseFix,
    Signal,
    alert_id,
    case_bytes,
)
from domain.identifiers import aggregate_id
from domain.riders.application import Riders
from domain.riders.command_service import RiderCommandOutcome, RiderCommands
from domain.riders.commands import RiderCommand
from domain.timestamps import utc_datetime
from infrastructure.embedded.postgres import Postgres
from infrastructure.event_store.aggregates import EventStoreFactory, SnapshotRecorder
from infrastructure.event_store.log_reader import PostgresHistory
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.http.auth import Authorizer
from infrastructure.http.errors import HANDLERS
from infrastructure.http.fraud import fraud_routes
from infrastructure.http.fraud_reader import FraudReader
from infrastructure.http.rider_commands import RiderCommandRequests
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.settings.tokens import Role
from read_models.completion.tables import completion_places
from read_models.fraud.queries import MAX_REVIEWS, CaseSource
from read_models.fraud.tables import fraud_alerts, fraud_reviews
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.servers.http_server import served
from tests.support.servers.servers import fresh_database
from tests.unit.domain.given import NOW_MS, a_ping

ALERTS = 30
STATUS_OF = ("open", "confirmed", "cleared")
# Both kinds in one table, under two generations: what a list has of each is that of its projection's active one.
SOURCES = [CaseSource(SPOOFING, fraud_alerts), CaseSource(COMPLETION, fraud_alerts)]
GENERATIONS = """
INSERT INTO projection_generations (projection, generation, fold_version, fold_digest, active, state)
VALUES ('spoofing', 1, 1, '', false, 'following'), ('spoofing', 2, 1, '', true, 'following'),
       ('completion', 3, 1, '', true, 'following')
"""
REVIEW = {"verdict": "cleared", "by": "mara", "why": "a tunnel on this route"}


PLACE_OF = ("52.5001,13.4002", "52.6001,13.5002")
"""The places of cases of completion with an even and an odd number."""


def kind_of(number: int) -> str:
    return COMPLETION if number % 5 == 4 else SPOOFING


def a_case(number: int) -> CaseFile:
    """Alert ``number`` was raised ``number // 2`` seconds after NOW_MS, about rider-(number % 4)."""
    rider, kind = f"rider-{number % 4}", kind_of(number)
    at_ms = NOW_MS + number // 2 * 1_000
    fix = CaseFix(f"0b7e9d1c-3f6a-4f0e-8f65-{number:012}", at_ms, at_ms + 60, 90 + number, 52.5, 13.4, 5.5, None, True)
    signals = [Signal("mock_flag", (("fixes", 3),), (fix.event_id,))]
    if kind == COMPLETION:
        far = (("at_least_mm", 180_000), ("nearest_mm", 190_000), ("place", PLACE_OF[number % 2]))
        signals = [Signal("button_against_pings", far, (fix.event_id,))]
    if kind == SPOOFING:
        measured = (("fixes", 4), ("seconds", 25.0), ("device_least_m", 110), ("speed_changes", 4))
        signals.append(Signal("frozen_position", measured, (fix.event_id,)))
    place = (1, at_ms, 90 + number, 95 + number)
    made = alert_id(kind, rider, fix.event_id)
    return CaseFile(made, rider, kind, *place, 80, tuple(signals), (fix,), "order-7", "to_customer")


CASES = [a_case(number) for number in range(ALERTS)]
IDS = [case.alert_id for case in CASES]


def status_of(number: int) -> str:
    return STATUS_OF[number % 3]


def rows(generation: int, cases: Sequence[CaseFile]) -> list[dict[str, Any]]:
    return [
        {
            "generation": generation,
            "alert_id": case.alert_id,
            "shard": 0,
            "rider_id": case.rider_id,
            "raised_at": utc_datetime(case.raised_at_ms),
            "latest_at": utc_datetime(case.raised_at_ms + 500),
            "score": case.score,
            "signals": ",".join(sorted(signal.name for signal in case.signals)),
            "order_id": case.order_id,
            "leg": case.leg,
            "position": case.position,
            "raised_position": case.raised_position,
            "fold_version": case.fold_version,
            "file": case_bytes(case),
        }
        for case in cases
    ]


def a_review_row(number: int, nth: int, verdict: str, generation: int = 2) -> dict[str, Any]:
    return {
        "generation": generation,
        "event_id": f"00000000-0000-5000-8000-{number:06}{nth:06}",
        "shard": 0,
        "alert_id": IDS[number],
        "rider_id": CASES[number].rider_id,
        "verdict": verdict,
        "reviewer": "mara",
        "why": f"reason {nth}",
        "at": utc_datetime(NOW_MS + nth),
        "position": 1_000 + nth,
    }


@pytest.fixture(scope="module")
def filled(migrated_postgres: Postgres) -> Iterator[Engine]:
    with fresh_database(migrated_postgres) as url:
        engine = reader_engine(url)
        of_kind = {kind: [case for case in CASES if case.kind == kind] for kind in (SPOOFING, COMPLETION)}
        with engine.begin() as connection:
            connection.execute(text(GENERATIONS))
            connection.execute(insert(fraud_alerts), rows(1, of_kind[SPOOFING]))  # of the generation before
            connection.execute(insert(fraud_alerts), rows(2, of_kind[SPOOFING]) + rows(3, of_kind[COMPLETION]))
            reviews = [a_review_row(n, 1, "confirmed") for n in range(ALERTS) if status_of(n) != "open"]
            # The latest one holds, by position: it changes the verdict of every third alert.
            reviews += [a_review_row(n, 2, "cleared") for n in range(ALERTS) if status_of(n) == "cleared"]
            reviews += [a_review_row(n, 9, "cleared", generation=1) for n in range(ALERTS)]
            connection.execute(insert(fraud_reviews), reviews)
            # Riders of three shards: at the first place all stop 200 m to the north, at the second at the address.
            connection.execute(
                insert(completion_places),
                [
                    {
                        "generation": 3,
                        "shard": shard,
                        "place": place,
                        "leg": "to_customer",
                        "stops": 2,
                        "north_mm": north_mm,
                        "east_mm": 0,
                        "far_stops": far,
                    }
                    for place, north_mm, far in ((PLACE_OF[0], 400_000, 2), (PLACE_OF[1], 4_000, 0))
                    for shard in range(3)
                ],
            )
            connection.execute(text("ANALYZE"))
        yield engine
        engine.dispose()


class Counted(list[tuple[str, str]]):
    def note(self, verb: str, outcome: str) -> None:
        self.append((verb, outcome))


@pytest.fixture(scope="module")
def counted() -> Counted:
    return Counted()


@pytest.fixture(scope="module")
def riders(filled: Engine) -> Iterator[Riders]:
    engine = writer_engine(filled.url.render_as_string(hide_password=False))
    codec = Codec(LocalSchemaIds())
    recorder = EventRecorder(engine, partition_rows=1000)
    riders = Riders(EventStoreFactory(recorder, SnapshotRecorder(engine), codec), PostgresHistory(engine))
    riders.record_pings([a_ping(f"rider-{number}") for number in range(3)] + [a_ping("honest")])
    yield riders
    engine.dispose()


@pytest.fixture(scope="module")
def url(filled: Engine, riders: Riders, counted: Counted) -> Iterator[str]:
    commands = RiderCommands(riders)

    async def submit(items: Sequence[RiderCommand]) -> list[RiderCommandOutcome]:
        return commands.execute(items)

    def is_known(rider_id: str) -> bool:
        return bool(riders.store.history.latest([aggregate_id("Rider", rider_id)]))

    reader = FraudReader(filled, SOURCES, is_known)
    roles: dict[str, frozenset[Role]] = {
        "reads": frozenset({"read"}),
        "reviews": frozenset({"review"}),
        "drives": frozenset({"ingest"}),
    }
    routes = fraud_routes(reader, RiderCommandRequests(submit, counted.note))
    with served(Litestar(routes, guards=[Authorizer(roles)], exception_handlers=HANDLERS)) as base_url:
        yield base_url


def client(url: str, token: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=20.0, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture(scope="module")
def http(url: str) -> Iterator[httpx.Client]:
    with client(url, "reviews") as one:
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


def expected(wanted: Any) -> list[str]:
    numbers = sorted((n for n in range(ALERTS) if wanted(n)), key=lambda n: (n // 2, IDS[n]))
    return [IDS[n] for n in numbers]


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


def test_a_review_is_recorded_on_the_riders_stream_once(http: httpx.Client, riders: Riders, counted: Counted) -> None:
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
    http: httpx.Client, riders: Riders, body: Any, code: str
) -> None:
    before = riders.recorder.max_notification_id()
    answer = http.post(f"/fraud/alerts/{IDS[0]}/review", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert riders.recorder.max_notification_id() == before


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


def test_reading_needs_read_or_review_and_a_review_needs_review(url: str) -> None:
    paths = ("/fraud/alerts", f"/fraud/alerts/{IDS[0]}", "/riders/rider-1/fraud")
    for token, status in (("reads", 200), ("reviews", 200), ("drives", 403)):
        with client(url, token) as one:
            assert [one.get(path).status_code for path in paths] == [status] * 3
    for token, status in (("reads", 403), ("drives", 403), ("none", 401)):
        with client(url, token) as one:
            assert one.post(f"/fraud/alerts/{IDS[0]}/review", json=REVIEW).status_code == status


def test_invariant_15_the_latest_reviews_of_an_alert_are_shown(filled: Engine, http: httpx.Client) -> None:
    number = 0
    with filled.begin() as connection:
        many = [a_review_row(number, 100 + nth, "confirmed") for nth in range(MAX_REVIEWS + 5)]
        connection.execute(insert(fraud_reviews), many)
    try:
        shown = http.get(f"/fraud/alerts/{IDS[number]}").json()["reviews"]
        assert [review["why"] for review in shown] == [f"reason {105 + nth}" for nth in range(MAX_REVIEWS)]
    finally:
        with filled.begin() as connection:
            connection.execute(text("DELETE FROM fraud_reviews WHERE position >= 1100"))
