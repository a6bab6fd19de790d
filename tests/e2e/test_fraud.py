"""From a forged position to an alert, its review, a rebuild and a replay: the same case file all the time."""

from __future__ import annotations

import csv
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from infrastructure.timestamps import now_ms
from tests.support.waiting import eventually
from tests.support.worlds.forged import forged_track, honest_track
from tests.support.worlds.ridelog import Ridelog

REVIEW = {"verdict": "cleared", "by": "mara", "why": "a test of the phone, agreed with the rider"}


def alerts_of(ridelog: Ridelog, rider_id: str) -> list[dict[str, Any]]:
    answer = ridelog.http.get("/fraud/alerts", params={"rider_id": rider_id})
    assert answer.status_code == 200, answer.text
    items = answer.json()["items"]
    assert isinstance(items, list)
    return items


@pytest.fixture(scope="module")
def alert(ridelog: Ridelog) -> dict[str, Any]:
    """The alert about a rider who forged, once all of his pings are folded."""
    start_ms = now_ms() - 600_000
    ridelog.post(honest_track("honest", start_ms))
    last = ridelog.post(forged_track("forger", start_ms))["position"]

    def whole() -> dict[str, Any] | None:
        found = alerts_of(ridelog, "forger")
        return found[0] if found and found[0]["position"] <= last and "teleport" in found[0]["signals"] else None

    found = eventually(whole, within_s=60, what="the alert is raised")
    assert found is not None
    return found


def one(ridelog: Ridelog, alert_id: str) -> dict[str, Any]:
    answer = ridelog.http.get(f"/fraud/alerts/{alert_id}")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert isinstance(body, dict)
    return body


def replayed(ridelog: Ridelog, *arguments: str) -> str:
    done = ridelog.cli("replay", "spoofing", "--case", *arguments)
    assert done.returncode == 0, done.stderr
    return sha256(done.stdout.encode()).hexdigest()


def test_a_forged_position_is_an_alert_with_its_evidence_and_an_honest_ride_is_none(
    ridelog: Ridelog, alert: dict[str, Any]
) -> None:
    assert alerts_of(ridelog, "honest") == []
    assert (alert["rider_id"], alert["kind"], alert["status"]) == ("forger", "spoofing", "open")
    assert {"mock_flag", "teleport"} <= set(alert["signals"])
    body = one(ridelog, alert["alert_id"])
    teleport = next(reason for reason in body["reasons"] if reason["signal"] == "teleport")
    assert "the limit is" in teleport["why"]
    recorded = {fix["event_id"] for fix in body["window"]}
    assert teleport["evidence"]
    assert set(teleport["evidence"]) <= recorded
    assert [fix["is_mock"] for fix in body["window"][-3:]] == [True] * 3


def test_invariant_8_the_case_file_is_the_same_after_a_review_a_rebuild_and_in_every_replay(
    ridelog: Ridelog, alert: dict[str, Any], tmp_path: Path
) -> None:
    alert_id = alert["alert_id"]
    before = one(ridelog, alert_id)
    assert replayed(ridelog, alert_id) == before["file_sha256"]

    answers = [ridelog.http.post(f"/fraud/alerts/{alert_id}/review", json=REVIEW) for _ in range(2)]
    assert [answer.json()["recorded"] for answer in answers] == [True, False]
    eventually(lambda: one(ridelog, alert_id)["status"] == "cleared", within_s=60, what="the review is folded")
    (review,) = one(ridelog, alert_id)["reviews"]
    assert (review["by"], review["why"], review["position"]) == ("mara", REVIEW["why"], answers[0].json()["position"])
    told = ridelog.http.get("/riders/forger/fraud").json()["items"]
    assert [item["status"] for item in told] == ["cleared"]
    assert told[0]["reviews"][0]["why"] == REVIEW["why"]

    rebuilt = ridelog.cli("rebuild-projection", "spoofing", timeout_s=300)
    assert rebuilt.returncode == 0, rebuilt.stderr
    after = one(ridelog, alert_id)
    assert after["generation"] > before["generation"]
    changed = {"generation", "status", "reviews"}
    assert {k: v for k, v in after.items() if k not in changed} == {k: v for k, v in before.items() if k not in changed}
    assert after["reviews"] == [review]

    place = ("--key", "forger", "--position", str(before["position"]))
    assert replayed(ridelog, alert_id) == replayed(ridelog, alert_id, *place) == before["file_sha256"]
    compared = ridelog.ask("verify-parity", "spoofing")
    assert compared.returncode == 0, compared.stderr
    assert "1 case files of 1 riders" in compared.stdout
    assert "0 differ from the log" in compared.stdout

    labels = tmp_path / "labels.csv"
    assert ridelog.ask("fraud-labels", "--out", str(labels)).returncode == 0
    (row,) = csv.DictReader(labels.read_text().splitlines())
    assert (row["alert_id"], row["rider_id"], row["verdict"], row["by"]) == (alert_id, "forger", "cleared", "mara")
    assert (row["is_latest"], row["position"]) == ("1", str(review["position"]))
    assert row["signals"].split(",") == alert["signals"]
    table = tmp_path / "labels.parquet"
    assert ridelog.ask("fraud-labels", "--out", str(table)).returncode == 0
    assert pq.read_table(table).to_pylist()[0]["verdict"] == "cleared"


def test_a_case_that_is_not_there_is_named(ridelog: Ridelog, alert: dict[str, Any]) -> None:
    unknown = "00000000-0000-5000-8000-000000000000"
    for arguments, why in (
        (("spoofing", "--case", unknown), "name its rider with --key"),
        (("spoofing", "--case", unknown, "--key", "forger"), "raise no alert"),
        (("spoofing", "--case", alert["alert_id"], "--key", "forger", "--position", "1"), "raise no alert"),
        (("speed", "--case", unknown), "speed raises no alerts"),
        (("spoofing", "--case", unknown, "--json"), "only --key, --at, --axis and --position go with it"),
    ):
        done = ridelog.ask("replay", *arguments)
        assert done.returncode != 0
        assert why in " ".join(done.stderr.replace("│", " ").split())
