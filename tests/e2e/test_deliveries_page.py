"""The commands of docs/deliveries.md do what the page says, in its order."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest

from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s
from tests.support.worlds.ridelog import Ridelog

PAGE = (ROOT / "docs" / "deliveries.md").read_text()


def commands() -> list[str]:
    """The indented commands of the page; an indented line after one continues it."""
    found: list[str] = []
    for line in PAGE.splitlines():
        if line.startswith("    curl "):
            found.append(line[4:])
        elif line.startswith("        ") and found:
            found[-1] += f" {line.strip()}"
    return found


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_page_work_in_its_order(ridelog: Ridelog) -> None:
    base = str(ridelog.http.base_url).rstrip("/")
    answers: list[dict[str, Any]] = []
    for command in commands():
        shown = command.replace("curl ", "curl -sS --noproxy '*' --fail-with-body ", 1).replace("localhost:8000", base)
        done = subprocess.run(["bash", "-c", shown], capture_output=True, text=True, timeout=scaled_s(30), check=False)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        answers.append(json.loads(done.stdout))
    statuses = [answer.get("status") for answer in answers]
    assert statuses[:5] == ["placed", "assigned", "picked_up", "arrived", "completed"]
    assert [answer["recorded"] for answer in answers[1:5]] == [True] * 4
    assert (answers[5]["order_id"], answers[6]["status"]) == ("order-8", "completed")
    assert set(answers[7]) == set(answers[8]) == {"items", "next"}
    tracked = ridelog.http.get(answers[9]["path"])
    assert (tracked.status_code, tracked.json()["status"]) == (200, "completed")
    assert len(answers) == 10


def test_the_page_names_every_code_of_the_contract() -> None:
    named = set(re.findall(r"`([a-z_]+)`", PAGE))
    codes = {
        "invalid_type", "invalid_order_id", "invalid_rider_id", "invalid_coordinates", "invalid_time_zone",
        "invalid_currency", "out_of_range", "timestamp_too_old", "gps_week_rollover", "timestamp_in_future",
        "unknown_delivery", "delivery_exists", "wrong_status", "other_rider", "too_many_legs", "idempotency_conflict",
        "body_too_large", "queue_full", "event_store_unavailable", "clock_ahead",
    }  # fmt: skip
    assert codes <= named
