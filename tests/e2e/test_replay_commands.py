"""``replay`` and ``feature-history`` next to a running serve: once each as a process, otherwise in this process."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog

START_MS = time.time_ns() // 1_000_000 - 120_000


def ping(rider: str, second: int, north: float) -> dict[str, Any]:
    return {
        "rider_id": rider,
        "latitude": 52.5 + north,
        "longitude": 13.4,
        "event_timestamp_ms": START_MS + second * 1_000,
        "accuracy_meters": 5,
    }


def instant() -> int:
    """An instant after everything recorded so far, and before everything recorded later."""
    now_ms = time.time_ns() // 1_000_000
    eventually(lambda: time.time_ns() // 1_000_000 > now_ms, what="the next millisecond has begun")
    return now_ms


def run_json(ridelog: Ridelog, *arguments: object) -> dict[str, Any]:
    done = ridelog.ask(*map(str, arguments), "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def late_pings(ridelog: Ridelog, rider: str) -> tuple[int, int]:
    """Record twelve pings, then two late ones. Returns an instant between them and the position of the last ping."""
    ridelog.post([ping(rider, n, n / 1e4) for n in range(12)])
    then_ms = instant()
    position = ridelog.post(ping(rider, -30, 0.5))["position"]
    late = ridelog.post({**ping(rider, 10, 0.1), "event_timestamp_ms": START_MS + 10_500})["position"]
    ridelog.speed_at(rider, late)
    assert late == position + 1
    return then_ms, late


def test_the_command_and_the_http_api_agree_about_a_key(
    ridelog: Ridelog, rider: str, late_pings: tuple[int, int]
) -> None:
    then_ms, late = late_pings
    ways: list[tuple[tuple[object, ...], dict[str, int | str]]] = [
        (("--at", then_ms), {"at": then_ms}),
        (("--at", then_ms, "--axis", "event"), {"at": then_ms, "axis": "event"}),
        (("--position", late - 2), {"position": late - 2}),
    ]
    for options, query in ways:
        found = run_json(ridelog, "replay", "speed", "--key", rider, *options)["values"]
        answer: dict[str, Any] = ridelog.http.get(f"/riders/{rider}/speed", params=query).json()
        del answer["generation"]
        assert found == answer
    people = ridelog.cli("replay", "speed", "--key", rider, "--at", str(then_ms))
    assert f"rider_id             {rider}" in people.stdout


def test_a_replay_of_all_keys_equals_that_of_each_key(
    ridelog: Ridelog, rider: str, late_pings: tuple[int, int], tmp_path: Path
) -> None:
    then_ms, _ = late_pings
    every = run_json(ridelog, "replay", "speed", "--at", then_ms)
    mine = [row for row in every["speed"] if row["rider_id"] == rider]
    assert mine == [run_json(ridelog, "replay", "speed", "--key", rider, "--at", then_ms)["values"]]
    assert len(every["speed"]) == every["keys"]
    out = tmp_path / "then.parquet"
    summary = run_json(ridelog, "replay", "speed", "--at", then_ms, "--out", out)
    assert pq.read_table(out).to_pylist() == every["speed"]
    assert summary["position"] == every["position"]
    assert json.loads((tmp_path / "then.parquet.manifest.json").read_text())["fold_digest"] == every["fold_digest"]
    assert not (tmp_path / "then.parquet.parts").exists()
    assert run_json(ridelog, "replay", "analytics", "--at", then_ms, "--out", out)["keys"] == every["keys"]
    hours = pq.read_table(tmp_path / "then.rider_hours.parquet").to_pylist()
    assert sum(row["pings"] for row in hours if row["rider_id"] == rider) == 12


def test_explain_shows_the_window_and_the_pings_that_were_too_late(
    ridelog: Ridelog, rider: str, late_pings: tuple[int, int]
) -> None:
    _, late = late_pings
    found = run_json(ridelog, "replay", "speed", "--key", rider, "--position", late, "--explain")
    times = [entry["event_timestamp_ms"] - START_MS for entry in found["window"]]
    assert times == [3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000, 10_000, 10_500, 11_000]
    # A fix eleven kilometres away within half a second has no weight, and is named.
    (jump,) = [entry for entry in found["window"] if entry["event_timestamp_ms"] == START_MS + 10_500]
    assert (jump["rejected"], jump["weight"], jump["position"]) == ("unreachable", 0.0, late)
    assert sum(entry["weight"] for entry in found["window"]) == pytest.approx(1.0, abs=1e-4)
    assert [entry["position"] for entry in found["too_late"]] == [late - 1]
    assert {entry["schema_id"] for entry in found["window"]} == {jump["schema_id"]}
    assert (found["fold_version"], found["values"]["position"]) == (3, late)
    people = ridelog.ask("replay", "speed", "--key", rider, "--position", str(late), "--explain")
    assert "unreachable" in people.stdout
    assert "too late, among the latest 15 events: 1" in people.stdout


def test_diff_names_the_event_that_makes_the_difference(
    ridelog: Ridelog, rider: str, late_pings: tuple[int, int], tmp_path: Path
) -> None:
    then_ms, late = late_pings
    picture = tmp_path / "both.png"
    found = run_json(
        ridelog, "replay", "speed", "--key", rider, "--at", then_ms, "--diff", f"event:{then_ms}", "--plot", picture
    )
    (mine,) = found["examples"]
    assert mine["first_event"] == {"version": 15, "position": late, "side": "right"}
    assert found["apart"]["path_speed_mps"]["keys"] == 1
    assert picture.read_bytes().startswith(b"\x89PNG")
    nowhere = tmp_path / "nowhere" / "both.png"
    failed = ridelog.cli(
        *("replay", "speed", "--key", rider, "--at", str(then_ms)),
        *("--diff", f"event:{then_ms}", "--plot", str(nowhere)),
    )
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1), failed.stderr
    same = run_json(ridelog, "replay", "speed", "--key", rider, "--position", late, "--diff", f"position:{late}")
    assert same["same"] is True
    every = run_json(ridelog, "replay", "speed", "--position", late - 2, "--diff", f"position:{late}")
    assert [example["key"] for example in every["examples"]] == [rider]
    stored = run_json(ridelog, "replay", "speed", "--position", late, "--diff", "generation:1")
    assert stored["same"] is True
    assert stored["compared"] >= 1


def test_the_same_code_has_no_differences_even_for_a_key_with_expired_values(
    ridelog: Ridelog, rider: str, late_pings: tuple[int, int]
) -> None:
    later = START_MS + 3 * 3_600_000
    asked_for = ("replay", "speed", "--key", rider, "--at", later, "--axis", "event")
    assert run_json(ridelog, *asked_for)["values"]["status"] == "expired"
    found = run_json(ridelog, *asked_for, "--diff", f"code:{ROOT}")
    assert (found["same"], found["compared"]) == (True, 1)


def test_steps_are_the_values_after_each_event(ridelog: Ridelog, rider: str, late_pings: tuple[int, int]) -> None:
    _, late = late_pings
    found = run_json(ridelog, "replay", "speed", "--key", rider, "--position", late, "--steps", 5)["steps"]
    assert [step["version"] for step in found] == [11, 12, 13, 14, 15]
    for step in found:
        assert step["row"]["position"] == step["position"]
        at = run_json(ridelog, "replay", "speed", "--key", rider, "--position", step["position"])["values"]
        assert {n: at[n] for n in at if n not in {"age_ms", "status"}} == {
            n: step["row"][n] for n in at if n not in {"age_ms", "status"}
        }


@pytest.mark.parametrize("axis", ["known", "event"])
def test_a_history_is_the_replay_at_every_tick_and_can_be_recreated_byte_for_byte(
    ridelog: Ridelog, rider: str, late_pings: tuple[int, int], tmp_path: Path, axis: str
) -> None:
    then_ms, _ = late_pings
    to_ms = then_ms if axis == "event" else instant()
    first, again, grown = tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / "c.parquet"
    span = ("--from", to_ms - 150_000, "--to", to_ms, "--every", "1500ms", "--axis", axis)
    made = run_json(ridelog, "feature-history", "speed", "--keys", f"{rider},nobody", *span, "--out", first)
    rows = pq.read_table(first).to_pylist()
    assert made["rows"] == len(rows) > 0
    for row in (rows[0], rows[-1], rows[len(rows) // 2]):
        position = ("--position", made["request"]["position"]) if axis == "event" else ()
        at = run_json(ridelog, "replay", "speed", "--key", rider, "--at", row["as_of_ms"], "--axis", axis, *position)[
            "values"
        ]
        assert {name: row[name] for name in at} == at
    manifest = tmp_path / "a.parquet.manifest.json"
    assert run_json(ridelog, "feature-history", "--manifest", manifest, "--out", again) == made
    assert again.read_bytes() == first.read_bytes()
    over = ridelog.cli("feature-history", "--manifest", str(manifest), "--out", str(first))
    assert (over.returncode, "name another" in over.stderr) == (2, True)
    # One more ping with an event time in the past, which is known only from now on.
    ridelog.post({**ping(rider, 5, 0.0), "event_timestamp_ms": START_MS + 5_250})
    run_json(ridelog, "feature-history", "--manifest", manifest, "--out", grown)
    assert grown.read_bytes() == first.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("replay", "speed"), "as of when?"),
        (("replay", "speed", "--at", "yesterday"), "Invalid"),
        (("replay", "speed", "--axis", "event", "--position", "1"), "give --at too"),
        (("replay", "nothing", "--at", "1"), "there is no projection"),
        (("replay", "traffic", "--at", "1"), "traffic has no values to show"),
        (("replay", "speed", "--at", "99999999999999"), "has not passed"),
        (("replay", "speed", "--position", "99999999999"), "the log has the positions"),
        (("replay", "speed", "--at", "1", "--explain"), "give --key"),
        (("replay", "speed", "--at", "1", "--diff", "moon:1"), "--diff takes"),
        (("replay", "speed", "--key", "nobody", "--at", "1"), "no event of 'nobody'"),
        (("replay", "speed", "--key", "nobody", "--at", "1", "--steps", "3"), "no event of 'nobody'"),
        (("replay", "speed", "--key", "nobody", "--at", "1", "--diff", "event:1"), "no event of 'nobody'"),
        (("replay", "speed", "--key", "nobody", "--at", "1", "--diff", "generation:1"), "no event of 'nobody'"),
        (
            ("feature-history", "analytics", "--from", "1", "--to", "2", "--out", "x.parquet"),
            "serves rows, not values of a key",
        ),
        (("feature-history", "--from", "2", "--to", "1", "--out", "x.parquet"), "--to is before"),
        (("feature-history", "--manifest", "none.json", "--out", "x.parquet"), "no manifest"),
        (("feature-history", "--keys", ",", "--from", "1", "--to", "2", "--out", "x.parquet"), "no key is named"),
    ],
)
def test_invalid_requests_are_rejected_with_a_message(
    ridelog: Ridelog, arguments: tuple[str, ...], message: str
) -> None:
    done = ridelog.ask(*arguments)
    assert done.returncode in {1, 2}
    assert message in " ".join(done.stderr.replace("│", " ").split())
