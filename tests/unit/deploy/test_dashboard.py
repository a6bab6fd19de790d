"""The Grafana dashboard is whole, and shows metrics that exist."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.support.reports.described_metrics import GRAFANA, dashboard, declared, named, named_in_deploy, panels
from tests.support.servers.serving import ROOT

DRAWN = [panel for panel in panels() if panel["type"] != "row"]


def test_ids_are_unique_and_nothing_lies_on_anything_else() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    places: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not cells & places, panel["title"]
        places |= cells


def test_rows_follow_the_way_of_a_ping() -> None:
    rows = [panel["title"] for panel in panels() if panel["type"] == "row"]
    assert [title.partition(" · ")[0] for title in rows] == ["Overview", "1", "2", "3", "4", "5", "6"]


def test_whoever_imports_it_chooses_the_data_source() -> None:
    variables = {one["name"]: one for one in dashboard()["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert "id" not in dashboard()
    used = set(re.findall(r"\$\{?(\w+)", str(dashboard())))
    assert used - {"__rate_interval"} == set(variables)


@pytest.mark.parametrize("panel", DRAWN, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows_in_which_unit_of_metrics_that_exist(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    refs = [target["refId"] for target in panel["targets"]]
    assert len(set(refs)) == len(refs) > 0
    samples = declared()
    for target in panel["targets"]:
        expr = target["expr"]
        assert target["datasource"]["uid"] == "${datasource}"
        assert named(expr)
        assert named(expr) <= set(samples)
        labels = set().union({"instance"}, *(samples[name] for name in named(expr)))
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels
        assert set(re.findall(r'(\w+)(?:=~?|!=|!~)"', expr)) <= labels


def test_every_metric_is_in_a_rule_or_on_the_dashboard() -> None:
    """A metric without an alert or a panel is either missing there, or not worth its cost."""
    shown = {_base(name) for name in named_in_deploy()}
    unseen = {_base(name) for name in declared()} - shown
    assert {name for name in unseen if not name.startswith("debezium_")} == set()


def _base(sample: str) -> str:
    return re.sub(r"_(bucket|count|sum)$", "", sample)


def test_grafana_is_provided_with_it() -> None:
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    assert [one["type"] for one in sources["datasources"]] == ["prometheus"]
    providers = yaml.safe_load((GRAFANA / "provisioning/dashboards/ridelog.yml").read_text())["providers"]
    compose = yaml.safe_load((ROOT / "deploy/compose.yml").read_text())
    mounted = [volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"] if "ridelog.json" in volume]
    assert mounted == [f"{providers[0]['options']['path']}/ridelog.json"]
