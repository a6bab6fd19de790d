"""The alert rules name metrics that exist, with the labels that they have, and say what to do."""

from __future__ import annotations

import re

from prometheus_client.metrics import MetricWrapperBase

import infrastructure.observability.metrics
from tests.support.serving import ROOT

RULES = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()


def declared() -> dict[str, set[str]]:
    """Metric -> labels."""
    return {
        metric._name: set(metric._labelnames)
        for metric in vars(infrastructure.observability.metrics).values()
        if isinstance(metric, MetricWrapperBase)
    }


def test_every_metric_that_a_rule_names_is_declared() -> None:
    named = set(re.findall(r"\bridelog_[a-z_]+", RULES))
    known = set(declared())
    assert len(named) >= 7
    assert {re.sub(r"_(bucket|total)$", "", name) for name in named} <= known


def test_every_label_that_a_rule_shows_is_one_of_its_metric() -> None:
    for rule in RULES.split("- alert:")[1:]:
        (metric,) = set(re.findall(r"\bridelog_[a-z_]+", rule.partition("for:")[0].partition("labels:")[0]))
        shown = set(re.findall(r"\$labels\.(\w+)", rule))
        assert shown <= declared()[re.sub(r"_bucket$", "", metric)], rule


def test_every_rule_says_what_to_do() -> None:
    for rule in RULES.split("- alert:")[1:]:
        assert "summary:" in rule
        assert "action:" in rule
