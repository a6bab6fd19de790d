"""From a forged position to an alert, a review, a rebuild and a replay: the same case file all the time."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import httpx
import pyarrow.parquet as pq
import pytest
from litestar import Litestar
from sqlalchemy import text

from domain.gps_ping import parse_ping
from domain.identifiers import SHARDS, aggregate_id
from domain.riders.command_service import RiderCommandOutcome
from domain.riders.commands import RiderCommand
from infrastructure.backends import Backends
from infrastructure.embedded.postgres import Postgres
from infrastructure.http.errors import HANDLERS
from infrastructure.http.fraud import fraud_routes
from infrastructure.http.fraud_reader import FraudReader
from infrastructure.http.rider_commands import RiderCommandRequests
from infrastructure.postgres.projection_sink import PostgresSink
from infrastructure.settings.settings import Settings
from projections.cases import case_sources
from projections.rebuild.catch_up import CatchUp
from projections.rebuild.generations import active
from projections.spoofing import SPOOFING
from tests.support.servers.http_server import served
from tests.support.servers.servers import fresh_database
from tests.support.worlds.command_line import run_here
from tests.support.worlds.forged import forged_track, honest_track

START_MS = 1_790_000_000_000
RECEIVED_MS = START_MS + 300_000
UNKNOWN = "00000000-0000-5000-8000-000000000000"
REVIEW = {"verdict": "cleared", "by": "mara", "why": "a test of the phone, agreed with the rider"}
CHANGED_BY_A_REVIEW = {"generation", "status", "reviews"}
Cli = Callable[..., CompletedProcess[str]]


class Desk(NamedTuple):
    """A log with one rider who forged and one who did not, and the HTTP routes on it."""

    backends: Backends
    url: str
    http: httpx.Client

    def fold(self, generation: int) -> None:
        sink = PostgresSink(self.backends.sink_engine, SPOOFING, generation)
        CatchUp(SPOOFING, self.backends.log, sink, self.backends.decode, range(SHARDS)).run()

    def rebuild(self) -> None:
        """A new generation from the whole log, to which readers are switched."""
        generations = self.backends.generations
        live, following = active(generations.all(SPOOFING.name)), generations.begin(SPOOFING)
        assert live is not None
        self.fold(following.number)
        generations.record(following, "ready", None)
        with generations.switching(live, following):
            pass

    def got(self, path: str, **query: Any) -> dict[str, Any]:
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert isinstance(body, dict)
        return body


@pytest.fixture
def desk(migrated_postgres: Postgres) -> Iterator[Desk]:
    with fresh_database(migrated_postgres) as url, Backends(Settings(postgres_url=url)) as backends:
        tracks = honest_track("honest", START_MS), forged_track("forger", START_MS)
        backends.generations.first(SPOOFING)
        backends.riders.record_pings([parse_ping(item, RECEIVED_MS) for track in tracks for item in track])

        async def submit(commands: Sequence[RiderCommand]) -> list[RiderCommandOutcome]:
            return backends.rider_commands.execute(commands)

        def is_known(rider_id: str) -> bool:
            return bool(backends.riders.store.history.latest([aggregate_id("Rider", rider_id)]))

        reader = FraudReader(backends.engine, case_sources()[:1], is_known)
        routes = fraud_routes(reader, RiderCommandRequests(submit, lambda verb, outcome: None))
        with (
            served(Litestar(routes, exception_handlers=HANDLERS)) as base_url,
            httpx.Client(base_url=base_url, timeout=20.0) as http,
        ):
            one = Desk(backends, url, http)
            one.fold(1)
            yield one


@pytest.fixture
def cli(desk: Desk, tmp_path: Path) -> Cli:
    return lambda *arguments: run_here(arguments, {"RIDELOG_POSTGRES_URL": desk.url}, tmp_path)


def alert_of(desk: Desk) -> dict[str, Any]:
    (item,) = desk.got("/fraud/alerts")["items"]
    return desk.got(f"/fraud/alerts/{item['alert_id']}")


def replayed(cli: Cli, *arguments: str) -> str:
    """The digest of the file that a replay prints."""
    done = cli("replay", "spoofing", "--case", *arguments)
    assert done.returncode == 0, done.stderr
    return sha256(done.stdout.encode()).hexdigest()


def test_a_forged_position_is_an_alert_with_its_evidence_and_an_honest_ride_is_none(desk: Desk) -> None:
    alert = alert_of(desk)
    assert (alert["rider_id"], alert["kind"], alert["status"]) == ("forger", "spoofing", "open")
    assert {"mock_flag", "teleport"} <= set(alert["signals"])
    teleport = next(reason for reason in alert["reasons"] if reason["signal"] == "teleport")
    assert "the limit is" in teleport["why"]
    assert teleport["evidence"]
    assert set(teleport["evidence"]) <= {fix["event_id"] for fix in alert["window"]}
    assert desk.got("/riders/honest/fraud")["items"] == []


def test_invariant_8_the_case_file_is_the_same_after_a_review_and_a_rebuild_and_in_every_replay(
    desk: Desk, cli: Cli
) -> None:
    before = alert_of(desk)
    path = f"/fraud/alerts/{before['alert_id']}"
    assert replayed(cli, before["alert_id"]) == before["file_sha256"]

    answers = [desk.http.post(f"{path}/review", json=REVIEW).json() for _ in range(2)]
    assert [answer["recorded"] for answer in answers] == [True, False]
    later = [parse_ping(item, RECEIVED_MS + 400_000) for item in honest_track("forger", RECEIVED_MS + 200_000)]
    desk.backends.riders.record_pings(later)
    desk.fold(1)
    reviewed = desk.got(path)
    (review,) = reviewed["reviews"]
    assert reviewed["status"] == "cleared"
    assert (review["by"], review["why"], review["position"]) == ("mara", REVIEW["why"], answers[0]["position"])
    (told,) = desk.got("/riders/forger/fraud")["items"]
    assert (told["status"], told["reviews"][0]["why"]) == ("cleared", REVIEW["why"])

    desk.rebuild()
    after = desk.got(path)
    assert (after["generation"], after["reviews"], after["status"]) == (2, [review], "cleared")
    for name in before.keys() - CHANGED_BY_A_REVIEW:
        assert after[name] == before[name], name

    as_of = ("--key", "forger", "--position", str(before["position"]))
    assert replayed(cli, before["alert_id"]) == replayed(cli, before["alert_id"], *as_of) == before["file_sha256"]
    assert replayed(cli, before["alert_id"].upper(), "--key", "forger") == before["file_sha256"]


def test_a_case_is_replayed_from_the_log_alone_after_its_table_was_lost(desk: Desk, cli: Cli) -> None:
    alert = alert_of(desk)
    with desk.backends.sink_engine.begin() as connection:
        connection.execute(text("DELETE FROM fraud_alerts"))
    lost = cli("replay", "spoofing", "--case", alert["alert_id"])
    assert lost.returncode != 0
    assert "name its rider with --key" in lost.stderr
    assert replayed(cli, alert["alert_id"], "--key", "forger") == alert["file_sha256"]


def test_verify_parity_compares_every_stored_file_with_the_log(desk: Desk, cli: Cli) -> None:
    right = cli("verify-parity", "spoofing")
    assert right.returncode == 0, right.stderr
    assert "1 case files of 1 riders in generation 1 of spoofing: 0 differ from the log" in right.stdout
    assert "nothing to compare" in cli("verify-parity", "spoofing", "--since", "2030-01-01T00:00:00Z").stdout
    with desk.backends.sink_engine.begin() as connection:
        connection.execute(text("UPDATE fraud_alerts SET file = replace(file::text, '64', '65')::bytea"))
        forged_row = text(
            "INSERT INTO fraud_alerts SELECT generation, :id, shard, rider_id, raised_at, latest_at, score, signals,"
            " order_id, leg, position, raised_position, fold_version, file FROM fraud_alerts"
        )
        connection.execute(forged_row, {"id": UNKNOWN})
    wrong = cli("verify-parity", "spoofing")
    assert wrong.returncode == 1
    assert "2 differ from the log" in wrong.stdout
    assert f"alert {UNKNOWN} of 'forger': not in the log" in wrong.stdout
    assert f"alert {alert_id_of(desk)} of 'forger': different" in wrong.stdout
    assert "must not be used against anybody" in wrong.stderr


def alert_id_of(desk: Desk) -> str:
    ids: list[str] = [item["alert_id"] for item in desk.got("/fraud/alerts")["items"]]
    return next(each for each in ids if each != UNKNOWN)


def test_files_that_other_code_made_are_not_compared(desk: Desk, cli: Cli) -> None:
    with desk.backends.sink_engine.begin() as connection:
        connection.execute(text("UPDATE projection_generations SET fold_digest = 'other'"))
    done = cli("verify-parity", "spoofing")
    assert done.returncode == 1
    assert "was made by other code" in done.stderr


def test_reviews_are_exported_as_labels(desk: Desk, cli: Cli, tmp_path: Path) -> None:
    alert = alert_of(desk)
    path = f"/fraud/alerts/{alert['alert_id']}/review"
    for verdict in ("confirmed", "cleared"):
        assert desk.http.post(path, json=REVIEW | {"verdict": verdict, "at": START_MS}).json()["recorded"] is True
    desk.fold(1)
    assert "2 labels written to" in cli("fraud-labels", "--out", "labels.csv").stdout
    first, second = csv.DictReader((tmp_path / "labels.csv").read_text().splitlines())
    assert (first["verdict"], first["is_latest"], second["verdict"], second["is_latest"]) == (
        "confirmed", "0", "cleared", "1"
    )  # fmt: skip
    assert (second["alert_id"], second["rider_id"], second["by"]) == (alert["alert_id"], "forger", "mara")
    assert (second["kind"], second["signals"].split(",")) == ("spoofing", alert["signals"])
    assert second["at"] == "2026-09-21T14:13:20.000Z"
    assert int(second["position"]) == int(first["position"]) + 1
    assert cli("fraud-labels", "--out", "labels.parquet").returncode == 0
    rows = pq.read_table(tmp_path / "labels.parquet").to_pylist()
    assert [row["verdict"] for row in rows] == ["confirmed", "cleared"]
    assert rows[1]["score"] == alert["score"]
    assert cli("fraud-labels", "--out", "labels.xlsx").returncode == 2
    assert "cannot write" in cli("fraud-labels", "--out", "missing/labels.csv").stderr


def test_the_whole_read_model_is_replayed_to_files_with_the_case_files_as_bytes(
    desk: Desk, cli: Cli, tmp_path: Path
) -> None:
    position = desk.backends.log.head("Rider").position
    done = cli("replay", "spoofing", "--position", str(position), "--out", "rows.parquet", "--workers", "1")
    assert done.returncode == 0, done.stderr
    (name,) = [path.name for path in tmp_path.glob("*fraud_alerts*.parquet")]
    (row,) = pq.read_table(tmp_path / name).to_pylist()
    assert sha256(row["file"]).hexdigest() == alert_of(desk)["file_sha256"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("spoofing", "--case", UNKNOWN), "name its rider with --key"),
        (("spoofing", "--case", UNKNOWN, "--key", "forger"), "raise no alert"),
        (("spoofing", "--case", UNKNOWN, "--key", "nobody"), "raise no alert"),
        (("speed", "--case", UNKNOWN), "speed raises no alerts"),
        (("spoofing", "--case", UNKNOWN, "--json"), "only --key, --at, --axis and --position go with it"),
    ],
)
def test_a_case_that_is_not_there_is_named(desk: Desk, cli: Cli, arguments: tuple[str, ...], why: str) -> None:
    done = cli("replay", *arguments)
    assert done.returncode != 0
    assert why in " ".join(done.stderr.replace("│", " ").split())


def test_a_case_as_of_before_its_alert_is_not_there_yet(desk: Desk, cli: Cli) -> None:
    alert = alert_of(desk)
    before = ("--key", "forger", "--position", str(alert["raised_position"] - 1))
    done = cli("replay", "spoofing", "--case", alert["alert_id"], *before)
    assert done.returncode != 0
    assert "raise no alert" in done.stderr
