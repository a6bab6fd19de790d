"""The command that reports the position of every stage."""

from __future__ import annotations

import json

from tests.e2e.test_speed import now_ms, track
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog


def test_status_of_a_running_ridelog(ridelog: Ridelog, rider: str) -> None:
    ridelog.speed_at(rider, ridelog.post(track(rider, now_ms()))["position"])

    def caught_up() -> bool:
        found = json.loads(ridelog.ask("status", "--json").stdout)
        return bool(found["good"]) and all(not line["lag_events"] for line in found["stages"])

    eventually(caught_up, within_s=60, every_s=0.2, what="every stage is caught up")
    shown = ridelog.cli("status")
    assert shown.returncode == 0
    for stage in ("log", "slot", "tailer", "kafka", "speed"):
        assert stage in shown.stdout
