"""A changed fold goes live without downtime, and back: the steps of docs/rebuild.md, one by one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.time_limits import scaled_s
from tests.support.worlds.checkout import change, copy_checkout
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.ridelog import ridelog as running


def command(folder: Path, ridelog: Ridelog, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run a command with the code in ``folder`` next to a service with other code: exit code, JSON and stderr."""
    done = subprocess.run(
        [sys.executable, "app.py", *arguments, "--json"],
        cwd=folder,
        env=ridelog.env,
        capture_output=True,
        text=True,
        timeout=scaled_s(120),
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def pings(count: int) -> list[dict[str, Any]]:
    now_ms = time.time_ns() // 1_000_000
    return [
        {"rider_id": "anna", "latitude": 52.5 + n / 1e4, "longitude": 13.4, "event_timestamp_ms": now_ms - n * 1000}
        for n in range(count)
    ]


def test_invariant_9_a_changed_fold_is_compared_accepted_switched_to_and_rolled_back(tmp_path: Path) -> None:
    new = copy_checkout(tmp_path / "new code")
    change(new / "domain" / "features" / "speed" / "window.py", "WINDOW_PINGS = 10", "WINDOW_PINGS = 6")
    change(new / "projections" / "speed.py", "fold_version=3", "fold_version=4")
    data = tmp_path / "data"

    with running(data) as old_service:
        position = old_service.post(pings(20))["position"]
        assert old_service.speed_at("anna", position)["pings_in_window"] == 10
        old = f"code:{old_service.folder}"
        code, found, errors = command(new, old_service, "replay", "speed", "--position", str(position), "--diff", old)
        assert (code, found["compared"], found["differing"]) == (0, 1, 1), errors
        (anna,) = found["examples"]
        assert (anna["left"]["pings_in_window"], anna["right"]["pings_in_window"]) == (6, 10)
        # The pings arrived newest first: from the seventh on the two windows differ.
        assert anna["first_event"]["version"] == 8
        code, found, errors = command(
            new, old_service, "replay", "speed", "--position", str(position), "--diff", "generation:1"
        )
        assert (code, found["differing"]) == (0, 1), errors
        code, shown, errors = command(new, old_service, "rebuild-projection", "speed")
        assert (code, shown["verdict"], shown["comparison"]["differing"]) == (1, "needs acceptance", 1), errors
        digest = shown["comparison"]["digest"]
        code, _, errors = command(new, old_service, "rebuild-projection", "speed", "--accept-differences", digest)
        assert code == 1
        assert "start `serve` with the code of this command" in errors
        assert old_service.speed_at("anna", position)["generation"] == 1

    with running(data, new) as new_service:
        # Nothing is switched automatically: the states that the old code folded are served unchanged.
        assert new_service.speed_at("anna", position)["pings_in_window"] == 10
        status = json.loads(new_service.cli("status", "--json").stdout)
        (line,) = (line for line in status["stages"] if line["stage"] == "speed")
        assert (status["good"], line["advice"]) == (False, "run rebuild-projection speed")
        code, done, errors = command(new, new_service, "rebuild-projection", "speed")
        assert (code, done.get("verdict")) == (0, "switched"), errors
        listed = new_service.cli("generations", "--projection", "speed").stdout.splitlines()
        assert listed == [
            "speed@1  fold version 3  following; folded by other code: this version does not write to it",
            "speed@2  fold version 4  served; 1 differences from generation 1",
        ]
        position = new_service.post(pings(1))["position"]
        speed = new_service.speed_at("anna", position)
        assert (speed["pings_in_window"], speed["generation"]) == (6, 2)
        code, _, errors = command(new, new_service, "rollback-projection", "speed")
        assert code == 1
        assert "deploy that code" in errors

    with running(data) as old_service:
        code, done, errors = command(old_service.folder, old_service, "rollback-projection", "speed")
        assert (code, done.get("verdict")) == (0, "switched"), errors
        speed = old_service.speed_at("anna", position)
        assert (speed["pings_in_window"], speed["generation"]) == (10, 1)
