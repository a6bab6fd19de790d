"""A rebuild is invisible to readers: under load, killed, switched, rolled back."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from signal import SIGKILL
from typing import Any

import pytest

from tests.support.faults.world import pause
from tests.support.reports.proofs import whole
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s
from tests.support.worlds.accounting import account_for
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.steady_load import SteadyLoad, SteadyReader

PREFILL = 2_000_000 if whole() else 20_000
RIDERS = 2_000 if whole() else 200
PINGS_PER_S, READS_PER_S = (1_000, 200) if whole() else (60, 25)
"""The pings come in few requests a second (``REQUESTS_PER_S``): in ``make test`` fewer, and each has fewer."""
KILLS, FILL_S = (3, 2.0) if whole() else (2, 0.1)
"""``FILL_S``: shorter than the new generation is filled, so that a kill within it meets the fill."""
FILLS, COMPARES = PHASES = ("filling generation", "comparing generation")
"""What a rebuild says when it begins to fill, and to compare."""
POST = 5_000


def prefill(ridelog: Ridelog, riders: list[str], pings: int) -> None:
    """Record history, a second apart, all riders in turn, in large requests."""
    start_ms = time.time_ns() // 1_000_000 - (pings // len(riders) + 60) * 1_000
    for first in range(0, pings, POST):
        body = [
            {
                "rider_id": riders[number % len(riders)],
                "latitude": 52.5 + number % 977 / 1e5,
                "longitude": 13.4 + number % 1013 / 1e5,
                "event_timestamp_ms": start_ms + number // len(riders) * 1_000,
                "accuracy_meters": 5,
            }
            for number in range(first, first + POST)
        ]
        assert ridelog.post(body)["accepted"] == POST


def rebuild(ridelog: Ridelog, *options: str, timeout_s: float = 900) -> dict[str, Any]:
    done = ridelog.cli("rebuild-projection", *options, "--json", timeout_s=timeout_s)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    assert done.returncode == (0 if found["verdict"] in ("switched", "equal") else 1)
    found["filled"] = [line.partition(": ")[2] for line in done.stderr.splitlines() if "filled" in line]
    return found


def rebuild_in(ridelog: Ridelog, name: str, phase: str) -> subprocess.Popen[str]:
    """A ``rebuild-projection`` as a process that has just begun ``phase``, as its own output says."""
    process = subprocess.Popen(
        [sys.executable, "app.py", "rebuild-projection", name, "--workers", "2"],
        cwd=ROOT,
        env=ridelog.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if phase in line:
            return process
    process.wait()
    raise AssertionError(f"the rebuild ended before {phase!r}: {said}")


def killed_rebuild(ridelog: Ridelog, name: str, phase: str, after_s: float) -> None:
    """kill -9 of the command ``after_s`` after it began ``phase``; its workers must end by themselves."""
    process = rebuild_in(ridelog, name, phase)
    pause(after_s)
    process.kill()
    said, _ = process.communicate(timeout=scaled_s(10))
    assert process.returncode == -SIGKILL, f"the rebuild ended before it was killed: {said}"


@pytest.mark.proof
@pytest.mark.parametrize("name", ["speed", "analytics"])
def test_invariant_9_a_rebuild_takes_nothing_down(
    ridelog: Ridelog, name: str, record_property: Callable[[str, object], None]
) -> None:
    riders = [f"steady-{uuid.uuid4().hex[:8]}-{number}" for number in range(RIDERS)]
    prefill(ridelog, riders, PREFILL)
    ridelog.speed_at(riders[0], 1, allow_expired=True)
    account_for(ridelog, set())
    chance = random.Random(7)
    with (
        SteadyLoad(ridelog, riders, PINGS_PER_S, seed=1) as load,
        SteadyReader(ridelog, riders, READS_PER_S, seed=2) as reader,
    ):
        first = rebuild(ridelog, name, "--workers", "2")
        assert (first["verdict"], first["comparison"]["differing"]) == ("switched", 0)
        reader.wait_for_generation(name, first["new_generation"])
        assert ridelog.cli("rollback-projection", name).returncode == 0
        reader.wait_for_generation(name, first["live_generation"])
        assert rebuild(ridelog, name, "--verify-only")["verdict"] == "equal"
        for _ in range(KILLS):
            phase = chance.choice(PHASES)
            killed_rebuild(ridelog, name, phase, chance.uniform(0.0, FILL_S) if phase == FILLS else 0.0)
        last = rebuild(ridelog, name, "--workers", "2")
        assert (last["verdict"], last["parked"]) == ("switched", [])
        reader.wait_for_generation(name, last["new_generation"])
        reader.wait_for_reads(2 * READS_PER_S)  # ordinary operation on the new generation, under load
    record_property("fill beside the load, two workers", "; ".join(first["filled"]))
    record_property("reads", f"{reader.reads:,}, wrong {len(reader.wrong)}")
    assert reader.wrong == []
    assert {first["live_generation"], first["new_generation"], last["new_generation"]} <= reader.generations(name)
    assert load.refused == 0
    account_for(ridelog, load.acknowledged)
