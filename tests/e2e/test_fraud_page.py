"""The commands of docs/fraud.md do what the page says, in its order."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog, ridelog

PAGE = (ROOT / "docs" / "fraud.md").read_text()


def commands() -> list[str]:
    """The commands of the page in their order: those in blocks of bash, and the indented ones of curl.

    An indented line after a command of curl continues it. In a block each line is a command, but for a document.
    """
    found: list[str] = []
    block: list[str] | None = None
    for line in PAGE.splitlines():
        if line == "```bash":
            block = []
        elif line == "```" and block is not None:
            whole = "\n".join(block)
            found += [whole] if "<<" in whole else block
            block = None
        elif block is not None:
            block.append(line)
        elif line.startswith("    curl "):
            found.append(line[4:])
        elif line.startswith("        ") and found:
            found[-1] += f" {line.strip()}"
    return found


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_page_work_in_its_order(tmp_path: Path) -> None:
    with ridelog(tmp_path / "data") as running:
        outputs = _run(running, tmp_path)
    rides, opened, alert, digest, from_log, compared, review, cleared, labels, told = outputs
    assert "40" in rides
    assert [item["rider_id"] for item in json.loads(opened)["items"]] == ["boris"]
    body: dict[str, Any] = json.loads(alert)
    assert {reason["signal"] for reason in body["reasons"]} >= {"teleport", "mock_flag"}
    assert digest.split()[0] == sha256(from_log.encode()).hexdigest() == body["file_sha256"]
    assert "0 differ from the log" in compared
    assert json.loads(review)["recorded"] is True
    assert [item["alert_id"] for item in json.loads(cleared)["items"]] == [body["alert_id"]]
    assert "1 labels written to labels.csv" in labels
    (item,) = json.loads(told)["items"]
    assert (item["status"], item["reviews"][0]["by"]) == ("cleared", "mara")


def _run(running: Ridelog, folder: Path) -> list[str]:
    """The outputs of the commands. Between two, whatever the next one shows is waited for, as a reader does."""
    base = str(running.http.base_url).rstrip("/")
    first, *rest = commands()
    outputs = [_output(running, folder, first.replace("python ", f"{sys.executable} "), base)]

    def alerts(status: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = running.http.get("/fraud/alerts", params={"status": status}).json()["items"]
        return items

    eventually(lambda: alerts("open"), within_s=60, what="the alert is raised")
    (alert,) = alerts("open")
    for command in rest:
        shown = command.replace("ALERT", alert["alert_id"])
        if "status=cleared" in command:
            eventually(lambda: alerts("cleared"), within_s=60, what="the review is folded")
        outputs.append(_output(running, folder, shown.replace("python ", f"{sys.executable} "), base))
    return outputs


def _output(running: Ridelog, folder: Path, command: str, base: str) -> str:
    shown = command.replace("curl ", "curl -sS --noproxy '*' --fail-with-body ", 1).replace("localhost:8000", base)
    shown = shown.replace(" app.py ", f" {ROOT / 'app.py'} ")
    env = running.env | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", shown], cwd=folder, env=env, capture_output=True, text=True, timeout=scaled_s(120), check=False
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def test_the_page_names_every_code_of_the_contract() -> None:
    named = set(re.findall(r"`([a-z_]+)`", PAGE))
    codes = {
        "invalid_verdict", "invalid_type", "timestamp_too_old", "gps_week_rollover", "timestamp_in_future",
        "invalid_status", "invalid_limit", "invalid_cursor", "invalid_time", "unknown_alert", "unknown_rider",
        "idempotency_conflict", "body_too_large", "queue_full", "event_store_unavailable", "clock_ahead",
        "read_model_unavailable",
    }  # fmt: skip
    assert codes <= named
