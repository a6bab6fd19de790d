"""The alert rules name metrics that exist, with the labels that they have, and say what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

import infrastructure.observability.metrics
from tests.support.serving import ROOT

RULES = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
PARSED: list[dict[str, Any]] = [rule for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"]]


def declared() -> dict[str, set[str]]:
    """Metric -> labels."""
    return {
        metric._name: set(metric._labelnames)
        for metric in vars(infrastructure.observability.metrics).values()
        if isinstance(metric, MetricWrapperBase)
    }


def named(text: str) -> set[str]:
    return {re.sub(r"_(bucket|total)$", "", name) for name in re.findall(r"\bridelog_[a-z_]+", text)}


def test_the_file_is_what_prometheus_reads() -> None:
    groups = yaml.safe_load(RULES)["groups"]
    assert all(set(group) == {"name", "rules"} for group in groups)
    names = [rule["alert"] for rule in PARSED]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("rule", PARSED, ids=lambda rule: rule["alert"])
def test_a_rule_names_metrics_and_labels_that_exist_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule["annotations"]) == {"summary", "action"}
    expr = rule["expr"]
    assert expr.count("(") == expr.count(")")
    metrics = declared()
    assert named(expr)
    assert named(" ".join(rule["annotations"].values())) | named(expr) <= set(metrics)
    shown = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    assert shown <= set.union(*(metrics[name] for name in named(expr)))


@pytest.mark.parametrize(
    "metric",
    [
        "ridelog_stage_late",
        "ridelog_stage_stuck",
        "ridelog_stage_connected",
        "ridelog_parity_mismatches",
        "ridelog_parked_keys",
        "ridelog_rebuild_due",
        "ridelog_slot_retained_bytes",
        "ridelog_slot_safe_bytes",
        "ridelog_slot_status",
        "ridelog_slot_made_timestamp_seconds",
        "ridelog_tailer_heartbeat_seconds",
    ],
)
def test_what_must_wake_somebody_has_a_rule(metric: str) -> None:
    assert any(metric in named(rule["expr"]) for rule in PARSED)
