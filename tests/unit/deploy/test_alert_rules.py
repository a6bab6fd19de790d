"""The alert rules name metrics that exist, with the labels that they have, and say what to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from typer.main import get_command

from infrastructure.cli import build
from tests.support.reports.described_metrics import PROMETHEUS, declared, named, rules
from tests.support.servers.serving import ROOT

PARSED = rules()
TESTS = PROMETHEUS / "alerts_test.yml"
TARGET_LABELS = {"instance", "job"}
"""What Prometheus adds to each sample."""


def test_the_file_is_what_prometheus_reads() -> None:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    assert all(set(group) == {"name", "rules"} for group in groups)
    names = [rule["alert"] for rule in PARSED]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("rule", PARSED, ids=lambda rule: rule["alert"])
def test_a_rule_names_metrics_and_labels_that_exist_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule["annotations"]) == {"summary", "action"}
    expr, samples = rule["expr"], declared()
    assert expr.count("(") == expr.count(")")
    assert named(expr) or expr.startswith("up{")
    assert named(expr) <= set(samples)
    words = " ".join(rule["annotations"].values())
    bases = {re.sub(r"_(bucket|count|sum|total)$", "", sample) for sample in samples}
    assert named(words) <= bases | set(samples)
    labels = set().union(TARGET_LABELS, *(samples[name] for name in named(expr)))
    assert set(re.findall(r"\$labels\.(\w+)", words)) <= labels
    for matchers in re.findall(r"\{([^{}]*)\}", expr):
        assert set(re.findall(r"(\w+)\s*[=!]~?\"", matchers.replace('="', ' ="'))) <= labels | {"name"}
    assert re.search(r"python app\.py \w+|curl |du -sh|grep |tail |psql ", rule["annotations"]["action"])


@pytest.mark.parametrize("rule", PARSED, ids=lambda rule: rule["alert"])
def test_a_command_that_a_rule_names_exists(rule: dict[str, Any]) -> None:
    ours = set(get_command(build()).commands)  # type: ignore[attr-defined]
    assert set(re.findall(r"python app\.py ([\w-]+)", rule["annotations"]["action"])) <= ours


@pytest.mark.parametrize("rule", PARSED, ids=lambda rule: rule["alert"])
def test_a_log_line_that_a_rule_greps_for_is_written(rule: dict[str, Any]) -> None:
    sources = [file.read_text() for room in ("infrastructure", "projections") for file in (ROOT / room).rglob("*.py")]
    for pattern in re.findall(r"grep (?:-E )?'([^']+)'", rule["annotations"]["action"]):
        # "401 unauthorized" is made of a status and a code, which the source holds apart.
        lines = [line.lstrip("0123456789 ") for line in pattern.split("|")]
        assert any(line in source for line in lines for source in sources), pattern


@pytest.mark.parametrize(
    "metric",
    [
        "ridelog_pings_refused_total",
        "ridelog_http_denied_total",
        "ridelog_ingest_queue_pings",
        "ridelog_commit_seconds_bucket",
        "ridelog_log_info",
        "ridelog_log_position",
        "ridelog_log_clock_ahead_seconds",
        "ridelog_oldest_transaction_seconds",
        "ridelog_dead_rows",
        "ridelog_disk_free_bytes",
        "ridelog_stage_late",
        "ridelog_stage_lag_events",
        "ridelog_stage_stuck",
        "ridelog_stage_connected",
        "ridelog_stage_failures_total",
        "ridelog_fence_distrusted_timestamp_seconds",
        "ridelog_parity_mismatches",
        "ridelog_parked_keys",
        "ridelog_flink_cluster_up",
        "ridelog_flink_job_running",
        "ridelog_flink_job_restarts",
        "ridelog_flink_checkpoint_age_seconds",
        "ridelog_payments_held",
        "ridelog_payments_differing",
        "ridelog_payments_oldest_seconds",
        "ridelog_payments_unpaid_history",
        "ridelog_rebuild_due",
        "ridelog_slot_retained_bytes",
        "ridelog_slot_safe_bytes",
        "ridelog_slot_status",
        "ridelog_slot_made_timestamp_seconds",
        "ridelog_tailer_heartbeat_seconds_bucket",
        "ridelog_tailer_heartbeat_seconds_count",
        "ridelog_tailer_standbys",
    ],
)
def test_what_must_wake_somebody_has_a_rule(metric: str) -> None:
    assert any(metric in named(rule["expr"]) for rule in PARSED)


def test_every_alert_is_tried_by_the_rule_tests() -> None:
    tried = {
        alert
        for case in yaml.safe_load(TESTS.read_text())["tests"]
        for one in case["promql_expr_test"]
        for sample in one["exp_samples"]
        for alert in re.findall(r'alertname="(\w+)"', sample["labels"])
    }
    assert tried == {rule["alert"] for rule in PARSED}


def promtool() -> str:
    found = os.environ.get("RIDELOG_TEST_PROMTOOL") or shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not here: apt-get install prometheus, or name it by RIDELOG_TEST_PROMTOOL")
    return found


@pytest.mark.parametrize("command", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")])
def test_prometheus_own_tool_accepts_the_rules_and_their_tests(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [promtool(), *command], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
