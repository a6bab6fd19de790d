"""Which stages `/metrics` of an API reports as connected or not."""

from __future__ import annotations

import pytest

from infrastructure.http.metrics_refresh import PAYMENTS_EXPECTED_S, expected_stages
from infrastructure.observability.stage_reports import StageProgress, StageReport


def report(stage: str, age_s: float) -> StageReport:
    return StageReport(stage, "there:1:2:3", age_s, StageProgress())


@pytest.mark.parametrize(
    ("age_s", "found"), [(1.0, ["speed", "payments"]), (PAYMENTS_EXPECTED_S + 1.0, ["speed"])], ids=["ended", "removed"]
)
def test_regression_payments_whose_node_is_gone_are_seen_to_be_missing(age_s: float, found: list[str]) -> None:
    """Its container left Prometheus' discovery with all that it showed: no rider was paid, and no alert said so."""
    assert expected_stages(["speed"], [report("speed", 0.5), report("payments", age_s)]) == found


def test_payments_are_not_missing_where_there_are_none() -> None:
    assert expected_stages(["speed"], [report("speed", 0.5)]) == ["speed"]


def test_payments_of_this_node_are_expected_once() -> None:
    assert expected_stages(["speed", "payments"], [report("payments", 0.5)]) == ["speed", "payments"]
