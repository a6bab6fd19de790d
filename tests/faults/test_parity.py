"""Invariant 8 of served reads: under load, with kills and a switch, every answer equals the fold of the log."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from domain.identifiers import shard_of
from infrastructure.postgres.engine import reader_engine
from infrastructure.redis.connection import connect_server
from read_models.redis_keys import state_key
from tests.faults.test_rebuild_live import prefill, rebuild
from tests.support.postgres.many_reads import ManyReads
from tests.support.reports.proofs import whole
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.ridelog import ridelog as running
from tests.support.worlds.steady_load import SteadyLoad

READS = 1_000_000 if whole() else 1_000
WITHIN_S = 60 + READS / 50
"""Bounds the wait for a part of the reads; it decides nothing else."""
RIDERS = 2_000 if whole() else 300
READ_PAUSE_S, PINGS_PER_S = (0.0, 300) if whole() else (0.2, 60)
"""In ``make test`` the reads and pings leave time for the kills and the rebuild, of which this is the proof."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ridelog]:
    """A ridelog that records every answer."""
    data_dir = tmp_path_factory.mktemp("parity") / "data"
    with running(data_dir, served_reads_share="1", served_reads_keep="3000000") as one:
        yield one


def verify(ridelog: Ridelog, *options: str, timeout_s: float = 3_600) -> tuple[int, dict[str, Any], str]:
    done = ridelog.cli("verify-parity", "--json", *options, timeout_s=timeout_s)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return done.returncode, found, done.stderr


def parity_line(ridelog: Ridelog, name: str = "parity") -> dict[str, Any]:
    lines = json.loads(ridelog.ask("status", "--json").stdout)["stages"]
    [line] = [line for line in lines if line["stage"] == name]
    assert isinstance(line, dict)
    return line


def on_record(ridelog: Ridelog, key: str = "%") -> int:
    engine = reader_engine(ridelog.info.postgres_url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT count(*) FROM served_reads WHERE key LIKE :key"), {"key": key})
        count = int(found.scalar_one())
    engine.dispose()
    return count


def a_rider(ridelog: Ridelog, pings: int) -> str:
    """A rider with so many pings, all folded, whose speed is read once."""
    rider = f"parity-{uuid.uuid4().hex[:8]}"
    prefill(ridelog, [rider], pings)
    ridelog.speed_at(rider, 1, allow_expired=True)
    eventually(lambda: (ridelog.speed(rider, allow_expired=True) or {}).get("version", 0) >= pings, within_s=60)
    return rider


@pytest.mark.proof
def test_invariant_8_whatever_was_served_is_the_fold_of_the_log(
    recorded: Ridelog, record_property: Callable[[str, object], None]
) -> None:
    riders = [f"served-{uuid.uuid4().hex[:8]}-{number}" for number in range(RIDERS)]
    prefill(recorded, riders, 5_000)
    recorded.speed_at(riders[-1], 1, allow_expired=True)
    with (
        SteadyLoad(recorded, riders, PINGS_PER_S, seed=8) as load,
        ManyReads(recorded, riders, 9, READ_PAUSE_S) as reads,
    ):
        for part, name in enumerate(("projections", "redis", "api"), start=1):
            reads.wait_for(READS * part // 5, within_s=WITHIN_S)
            recorded.kill(name)
        reads.wait_for(READS * 4 // 5, within_s=WITHIN_S)
        switched = rebuild(recorded, "speed", "--workers", "2")
        reads.wait_for(READS, within_s=WITHIN_S)
        # The reads that waited in the killed API, about one second of them, are not recorded.
        eventually(lambda: on_record(recorded) >= READS, within_s=60, every_s=0.5)
    assert switched["verdict"] == "switched"
    assert load.acknowledged
    code, found, said = verify(recorded)
    assert code == 0, said
    assert found["reads"] == found["verdicts"]["equal"] >= READS
    assert (found["wrong_checkpoints"], found["generation"]) == (0, switched["new_generation"])
    line = parity_line(recorded)
    assert (line["advice"], line["state"].partition(" checked, 0 different, ")[1]) == ("", " checked, 0 different, ")
    record_property("served vectors", f"{found['reads']:,} checked, 0 different ({reads.refused:,} refused)")
    record_property("rate", f"{found['reads_per_second']:,} reads/s, {found['events_folded']:,} events folded")


def test_a_flipped_bit_of_a_stored_state_is_found_and_red_until_it_is_refolded(recorded: Ridelog) -> None:
    rider = a_rider(recorded, 5_000)
    assert verify(recorded)[0] == 0
    generation = recorded.speed(rider, allow_expired=True)["generation"]  # type: ignore[index]
    place = state_key("speed", generation, shard_of(rider))
    client = connect_server(recorded.info.redis_url)
    state = bytearray(client.hget(place, rider))  # type: ignore[arg-type]
    # The latitude of the newest ping, which has 56 bytes: 8 bytes from byte 24 on.
    state[-26] ^= 1
    client.hset(place, rider, bytes(state))
    before = on_record(recorded, rider)
    assert recorded.speed(rider, allow_expired=True) is not None
    eventually(lambda: on_record(recorded, rider) > before, what="the damaged answer is on record")

    code, found, said = verify(recorded)
    assert (code, found["verdicts"]["different"]) == (1, 1)
    assert f"generation {generation}, which is served, is wrong: run `rebuild-projection speed`" in said
    [words] = found["examples"]
    assert words.startswith(f"{rider}: latitude: other than recomputed ")
    line = parity_line(recorded)
    assert "verify-parity, then rebuild-projection speed" in line["advice"]
    shown = 'ridelog_parity_mismatches{projection="speed"} 1.0'
    eventually(lambda: shown in recorded.http.get("/metrics").text, within_s=30, what="the metric shows it")

    # Nothing is switched without confirmation; then by the digest of exactly the differences of the damage.
    client.close()
    shown_by_rebuild = rebuild(recorded, "speed")
    assert (shown_by_rebuild["verdict"], shown_by_rebuild["comparison"]["differing"]) == ("blocked", 1)
    digest = shown_by_rebuild["comparison"]["digest"]
    assert rebuild(recorded, "speed", "--live-is-damaged", digest)["verdict"] == "switched"
    assert parity_line(recorded)["advice"] == ""
    code, found, said = verify(recorded)
    assert (code, found["mismatches_on_record"]) == (1, 0)
    assert f"all of generation {generation}, which is no longer served" in said


def test_a_wrong_live_checkpoint_is_found_and_replaced(recorded: Ridelog) -> None:
    rider = a_rider(recorded, 5_000)
    engine = reader_engine(recorded.info.postgres_url)
    flip = text(
        "UPDATE checkpoints SET verified = false, state = set_bit(state, 400, 1 - get_bit(state, 400))"
        " WHERE projection = 'speed' AND version = 1000"
        "  AND aggregate_id IN (SELECT aggregate_id FROM events WHERE aggregate_key = :rider) RETURNING state"
    )
    with engine.begin() as connection:
        wrong = bytes(connection.execute(flip, {"rider": rider}).scalar_one())
        # As if the auditor had not run yet: otherwise it has left verified snapshots after the damaged one.
        connection.execute(text("UPDATE checkpoints SET verified = false"))
    code, found, said = verify(recorded)
    # Found by the command, or by the auditor if it ran first.
    assert (code, found["mismatches_on_record"]) == (1, 1), said
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT key, version, kept, folded FROM wrong_checkpoints")).all()
    engine.dispose()
    [(key, version, kept, folded)] = rows
    assert (key, version, bytes(kept)) == (rider, 1_000, wrong)
    assert bytes(folded) != wrong
    assert parity_line(recorded)["advice"] != ""
    assert rebuild(recorded, "speed")["verdict"] == "switched"
    assert parity_line(recorded)["advice"] == ""


def test_regression_a_state_lost_from_redis_is_a_404_that_parity_sees(tmp_path: Path) -> None:
    """The share of recorded answers is one in a million, but a 404 of a known rider is always recorded."""
    with running(tmp_path / "data", served_reads_share="0.000001") as one:
        rider, ended_ms = f"lost-{uuid.uuid4().hex[:8]}", time.time_ns() // 1_000_000
        where = {"rider_id": rider, "latitude": 52.5, "longitude": 13.4}
        pings = [{**where, "event_timestamp_ms": ended_ms - number * 1_000} for number in range(20)]
        assert one.post(pings)["accepted"] == 20
        eventually(lambda: (one.speed(rider) or {}).get("version", 0) >= 20, within_s=60, what="they are folded")
        assert one.speed("unknown-to-the-log") is None
        redis = connect_server(one.info.redis_url)
        generation = json.loads(one.cli("verify-parity", "--json").stdout)["generation"]
        assert redis.hdel(state_key("speed", generation, shard_of(rider)), rider) == 1
        redis.close()
        assert one.speed(rider, allow_expired=True) is None
        eventually(lambda: on_record(one, rider), within_s=10, what="the 404 is on record")
        assert on_record(one, "unknown%") == 0
        code, found, said = verify(one)
        assert (code, found["verdicts"]["different"]) == (1, 1)
        assert f"{rider}: answered as unknown" in found["examples"][0]
        assert "rebuild-projection speed" in said
        eventually(lambda: parity_line(one)["advice"], within_s=20, what="`status` shows it")
