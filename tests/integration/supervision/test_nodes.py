"""Ridelog as separate nodes, each a ``serve --only`` as in deploy/compose.yml, and the metrics that they export."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import msgspec
import pytest
from sqlalchemy import text

from infrastructure.postgres.engine import reader_engine
from infrastructure.settings.settings import Settings
from projections.catalogue import PROJECTIONS
from tests.support.reports.described_metrics import EXCEPTIONAL, named_in_deploy
from tests.support.servers.nodes import TOKENS, ServeNode, metric_of, nodes
from tests.support.waiting import eventually

PARTS = ("tailer", "projections", "city", "payments", "api")
NO_PROVIDER = {"payments_url": "http://127.0.0.1:9/", "payments_secret": "nothing-is-handed-over-here"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nodes")


@pytest.fixture
def running(settings: Settings, folder: Path) -> Iterator[Mapping[str, ServeNode]]:
    # Every answer is recorded, so that the parity check recomputes one soon.
    with nodes(msgspec.structs.replace(settings, served_reads_share=1.0, **NO_PROVIDER), folder, PARTS) as found:
        yield found


def missing(wanted: set[str], exported: Mapping[str, float]) -> set[str]:
    return wanted - set(map(metric_of, exported))


def test_the_parts_work_together_and_export_every_metric_that_rules_and_dashboard_name(
    running: Mapping[str, ServeNode],
) -> None:
    api = running["api"]
    ping = {"rider_id": "anna", "latitude": 52.52, "longitude": 13.405, "event_timestamp_ms": int(time.time() * 1000)}
    posted = api.post("/pings", [ping, {}])
    assert posted.json()["accepted"] == 1

    eventually(lambda: api.get("/riders/anna/speed").status_code == 200, within_s=60, what="the speed is served")
    assert api.get(f"/riders/anna/speed?position={posted.json()['position']}").status_code == 200

    # Each node exports its own metrics, and reading them needs a token.
    for node in running.values():
        assert node.get("/metrics", token="").status_code == 401
    assert running["tailer"].get("/health/ready", token="").json()["stages"] == {"postgres": "ok", "tailer": "ok"}
    assert set(running["projections"].get("/health/ready", token="").json()["stages"]) == {
        "postgres",
        "redis",
        *PROJECTIONS,
    }
    assert running["tailer"].get("/pings").status_code == 404

    def exported() -> Mapping[str, float]:
        found: defaultdict[str, float] = defaultdict(float)
        for node in running.values():
            for name, value in node.samples().items():
                found[name] += value
        return found

    def counted() -> bool:
        found = exported()
        return found.get('ridelog_projection_events_total{projection="speed",what="applied"}', 0) >= 1

    eventually(counted, within_s=60, what="the projections show what they applied")
    eventually(lambda: exported()["ridelog_tailer_records_total"] >= 1, what="the tailer shows what it published")
    assert 'ridelog_stage_connected{stage="tailer"}' in running["tailer"].samples()
    wanted = named_in_deploy() - EXCEPTIONAL
    # Each appears in its own time; those of parity when the first answers are recomputed.
    eventually(lambda: not missing(wanted, exported()), within_s=60, what=f"each of {sorted(wanted)}")
    assert all("anna" not in sample for sample in exported())


def logs_shown(api: ServeNode) -> list[str]:
    try:
        return [sample for sample in api.samples() if metric_of(sample) == "ridelog_log_info"]
    except httpx.HTTPError:
        return []  # the node does not answer yet


def test_regression_metrics_stop_showing_a_log_that_was_replaced(settings: Settings, folder: Path) -> None:
    """Otherwise the alert RidelogLogReplaced, which fires on two logs in an hour, would last until the process ends."""
    assert settings.postgres_url is not None
    engine = reader_engine(settings.postgres_url)
    api = ServeNode("api", settings, folder / "replaced", RIDELOG_TOKENS=TOKENS)
    try:
        eventually(lambda: bool(api.url()) and logs_shown(api) != [], within_s=60, what="the log is shown")
        (before,) = logs_shown(api)
        with engine.begin() as connection:
            log_id = connection.execute(text("UPDATE log_head SET log_id = gen_random_uuid() RETURNING log_id"))
            shown = f'ridelog_log_info{{log_id="{log_id.scalar_one()}"}}'
        assert logs_shown(api) == [shown]
        assert shown != before
    finally:
        api.stop()
        engine.dispose()
