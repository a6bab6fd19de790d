"""The contract of ``POST /pings``, on a complete ridelog."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support.worlds.ridelog import Ridelog


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def ping(rider: str, back_s: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "rider_id": rider,
        "latitude": 52.5,
        "longitude": 13.4,
        "event_timestamp_ms": now_ms() - back_s * 1000,
        **fields,
    }


def codes(answer: dict[str, Any]) -> list[tuple[int, str]]:
    assert all(set(item) == {"index", "code", "detail"} for item in answer["rejected"])
    return [(item["index"], item["code"]) for item in answer["rejected"]]


def test_accepted_duplicates_and_positions(ridelog: Ridelog, rider: str) -> None:
    first, second = ping(rider, 2), ping(rider, 1)
    answer = ridelog.post([first, second, first])
    assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (2, 1, [])
    assert set(answer) == {"accepted", "duplicates", "rejected", "position"}
    again = ridelog.post(second)
    assert (again["accepted"], again["duplicates"], again["position"]) == (0, 1, answer["position"])
    later = ridelog.post([first, ping(rider)])
    assert later["position"] > answer["position"]


def test_a_repeat_of_the_older_ping_names_its_own_position(ridelog: Ridelog, rider: str) -> None:
    first, second = ping(rider, 2), ping(rider, 1)
    one = ridelog.post(first)["position"]
    ridelog.post(second)
    assert ridelog.post(first)["position"] == one


def test_all_rejected_is_still_200_and_has_no_position(ridelog: Ridelog) -> None:
    answer = ridelog.post([None, 5, "x", [], {"rider_id": None}])
    assert codes(answer) == [(index, "invalid_type") for index in range(5)]
    assert (answer["accepted"], answer["duplicates"], answer["position"]) == (0, 0, None)


def test_items_are_validated_one_by_one(ridelog: Ridelog, rider: str) -> None:
    event_id = str(uuid.uuid4())
    good = ping(rider, event_id=event_id)
    answer = ridelog.post(
        [
            good,
            {**good, "latitude": 91},
            {**good, "latitude": 0, "longitude": 0},
            {**good, "event_timestamp_ms": 946_684_799_999},
            {**good, "event_timestamp_ms": now_ms() + 400_000},
            {**good, "accuracy_meters": -1},
            {**good, "rider_id": "a/b"},
            {**good, "accuracy_meters": 3},
            {**good, "event_id": event_id.upper(), "unknown": {}},
        ]
    )
    assert codes(answer) == [
        (1, "invalid_coordinates"),
        (2, "null_island"),
        (3, "timestamp_too_old"),
        (4, "timestamp_in_future"),
        (5, "invalid_accuracy"),
        (6, "invalid_rider_id"),
        (7, "event_id_conflict"),
    ]
    assert (answer["accepted"], answer["duplicates"]) == (1, 1)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1,", b"nope", b"[]", b'"text"', b"5", b"null", b"\xff\xfe", b"[" * 100_000]
)
def test_a_malformed_batch_is_400(ridelog: Ridelog, body: bytes) -> None:
    answer = ridelog.http.post("/pings", content=body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"code", "detail"}


def test_numbers_that_are_not_finite_reject_only_their_own_ping(ridelog: Ridelog, rider: str) -> None:
    good = json.dumps(ping(rider))
    bad = good.replace("52.5", "1e999")
    worse = good.replace("52.5", "NaN")
    long = good.replace("52.5", "9" * 5_000)
    answer = ridelog.http.post("/pings", content=f"[{bad},{good},{worse},{long}]").json()
    assert codes(answer) == [(index, "invalid_coordinates") for index in (0, 2, 3)]
    assert answer["accepted"] == 1


def test_ten_thousand_pings_are_taken_and_one_more_is_413(ridelog: Ridelog, rider: str) -> None:
    start = now_ms() - 20_000_000
    batch = [{**ping(rider), "event_timestamp_ms": start + n} for n in range(10_001)]
    answer = ridelog.http.post("/pings", json=batch)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_pings")
    assert ridelog.post(batch[:-1])["accepted"] == 10_000


def test_a_body_over_8_mib_is_413_by_its_declared_length(ridelog: Ridelog) -> None:
    answer = ridelog.http.post("/pings", content=b" " * (8 * 1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_body_of_two_gigabytes_is_refused_before_it_is_sent(ridelog: Ridelog) -> None:
    url = httpx.URL(ridelog.info.http_url)
    with socket.create_connection((url.host, url.port or 80), timeout=10) as connection:
        connection.sendall(b"POST /pings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2147483648\r\n\r\n[")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_an_endless_chunked_body_is_cut_off_at_8_mib(ridelog: Ridelog) -> None:
    answer = ridelog.http.post("/pings", content=(b" " * 65536 for _ in range(200)))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "strange", ["SELECT", "'; drop table events; --", "名前", "🛵", "a b", "x" * 128, "%2e", "o'b\"c\\d"]
)
def test_strange_rider_ids_are_returned_unchanged(ridelog: Ridelog, strange: str) -> None:
    answer = ridelog.post(ping(strange))
    assert ridelog.speed_at(quote(strange, safe=""), answer["position"])["rider_id"] == strange


def test_times_may_be_rfc_3339(ridelog: Ridelog, rider: str) -> None:
    answer = ridelog.post(ping(rider, event_timestamp_ms="2026-01-31T13:00:00.125+01:00"))
    assert ridelog.speed_at(rider, answer["position"])["event_timestamp_ms"] == 1_769_860_800_125


def test_invariant_3_the_same_pings_from_many_clients_at_once_are_recorded_once(ridelog: Ridelog, rider: str) -> None:
    batch = [ping(rider, seconds, event_id=str(uuid.uuid4())) for seconds in range(50)]
    answers: list[dict[str, Any]] = []

    def send() -> None:
        with httpx.Client(base_url=ridelog.http.base_url, timeout=30) as client:
            answers.append(client.post("/pings", json=batch).json())

    clients = [threading.Thread(target=send) for _ in range(8)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert sum(answer["accepted"] for answer in answers) == 50
    assert sum(answer["duplicates"] for answer in answers) == 350
    assert len({answer["position"] for answer in answers}) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("DELETE", "/pings", 405), ("GET", "/pings", 405)]
)
def test_other_errors_have_the_same_form(ridelog: Ridelog, method: str, path: str, status: int) -> None:
    answer = ridelog.http.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "detail"}


@pytest.mark.parametrize("form", ["{}.0", "{:.12e}", "{}e0"])
def test_a_time_that_is_an_integer_in_value_is_accepted_in_every_form_of_json(
    ridelog: Ridelog, rider: str, form: str
) -> None:
    one = ping(rider)
    text = json.dumps(one).replace(str(one["event_timestamp_ms"]), form.format(one["event_timestamp_ms"]))
    answer = ridelog.http.post("/pings", content=text, headers={"Content-Type": "application/json"}).json()
    assert (answer["accepted"], answer["rejected"]) == (1, [])
    assert ridelog.post(one)["duplicates"] == 1


def test_one_fix_in_milliseconds_and_in_microseconds_is_one_ping(ridelog: Ridelog, rider: str) -> None:
    forms = ["2026-11-20T09:00:04.999Z", "2026-11-20t10:00:04.9996+01:00", "2026-11-20 09:00:04.999999z"]
    answer = ridelog.post([ping(rider, event_timestamp_ms=form) for form in forms])
    assert (answer["accepted"], answer["duplicates"]) == (1, 2)


def test_times_that_are_not_rfc_3339_are_rejected(ridelog: Ridelog, rider: str) -> None:
    forms = ["2026-11-20T09:00:00Z\0", "2026-11-20\xe909:00:00Z", "2026-W47-5T09:00:00Z", "20261120T090000Z"]
    forms += ["2026-11-20T24:00:00Z", "2026-324T09:00:00Z"]
    answer = ridelog.post([ping(rider, event_timestamp_ms=form) for form in forms])
    assert codes(answer) == [(index, "invalid_type") for index in range(len(forms))]


def test_a_leap_second_is_accepted(ridelog: Ridelog, rider: str) -> None:
    answer = ridelog.post([ping(rider, event_timestamp_ms="2016-12-31T23:59:60Z")])
    assert (answer["accepted"], answer["rejected"]) == (1, [])


def test_a_gps_week_rollover_is_rejected_by_name(ridelog: Ridelog, rider: str) -> None:
    era_s = 1024 * 7 * 86_400
    answer = ridelog.post([ping(rider, era_s), ping(rider, era_s - 3_000), ping(rider, era_s - 4_000)])
    assert codes(answer) == [(0, "gps_week_rollover"), (1, "gps_week_rollover")]


def test_rider_ids_that_no_path_can_contain_or_that_are_invisible_are_rejected(ridelog: Ridelog) -> None:
    answer = ridelog.post([ping(rider) for rider in (".", "..", "\u3164", "\u2800\ufe0f", "\u115f \u1160")])
    assert codes(answer) == [(index, "invalid_rider_id") for index in range(5)]
