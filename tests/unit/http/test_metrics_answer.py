"""``GET /metrics``: what a scraper reads before the metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
from litestar.testing import TestClient

from infrastructure.http.application import node_application
from infrastructure.observability.metrics_directory import VARIABLE
from infrastructure.settings.settings import Settings
from tests.support.worlds.recorded_events import nothing


def test_regression_the_content_type_of_metrics_has_one_charset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The charset was there twice. A scraper with a strict parser rejects a type with a parameter that is repeated."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with TestClient(node_application(Settings(port=0), {}, nothing), base_url="http://127.0.0.1") as client:
        answer = client.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
