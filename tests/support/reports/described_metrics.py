"""The metrics that the rules and the dashboard name, and the metrics that are declared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from prometheus_client import Histogram
from prometheus_client.metrics import MetricWrapperBase

from infrastructure.observability import debezium_metrics as debezium
from infrastructure.observability import metrics
from tests.support.servers.serving import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"

EXCEPTIONAL = {
    "ridelog_fence_distrusted_timestamp_seconds",
    "ridelog_rebuild_due",
    "ridelog_eta_feature_psi",
    "ridelog_eta_mae_seconds",
    "ridelog_eta_bias_seconds",
    "ridelog_eta_held_share",
    "ridelog_flink_cluster_up",
    "ridelog_flink_job_running",
    "ridelog_flink_job_restarts",
    "ridelog_flink_checkpoint_age_seconds",
}
"""Shown only after a failure: times of an event, and a gauge of a worker that may not run. Of drift: only once ETAs
were served on a day and their orders ended. Of Flink: only where RIDELOG_FLINK_URL names a cluster."""


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GRAFANA / "ridelog.json").read_text())
    return found


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard, including rows."""
    found: list[dict[str, Any]] = dashboard()["panels"]
    return found


def expressions() -> Iterator[str]:
    """The expressions of all rules and panels."""
    yield from (rule["expr"] for rule in rules())
    yield from (target["expr"] for panel in panels() for target in panel.get("targets", []))


def named(text: str) -> set[str]:
    """The names of samples in an expression or a text."""
    return set(re.findall(r"\b(?:ridelog|debezium_metrics)_\w+", text))


def named_in_deploy() -> set[str]:
    return set().union(*map(named, expressions()))


def declared() -> dict[str, set[str]]:
    """Sample -> its labels."""
    found: dict[str, set[str]] = {metrics.LOG.name: {metrics.LOG.label}}
    for metric in (one for module in (metrics, debezium) for one in _metrics_of(module)):
        labels = set(metric._labelnames)
        if isinstance(metric, Histogram):
            found |= {f"{metric._name}_{part}": labels for part in ("count", "sum")}
            found[f"{metric._name}_bucket"] = labels | {"le"}
        else:
            found[f"{metric._name}_total" if metric._type == "counter" else metric._name] = labels
    return found


def _metrics_of(module: Any) -> Iterator[MetricWrapperBase]:
    for value in vars(module).values():
        for one in value.values() if isinstance(value, dict) else [value]:
            if isinstance(one, MetricWrapperBase):
                yield one
