"""The complete path with a Kafka that requires TLS and a password."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from tests.e2e.test_speed import now_ms, track
from tests.support.servers.secured_kafka import PASSWORD, USER, SecuredKafkaNode
from tests.support.servers.servers import running
from tests.support.worlds.ridelog import ridelog


def test_a_ping_goes_through_and_the_password_is_in_no_log(tmp_path: Path, kafka_jars: Path) -> None:
    escaped = quote(PASSWORD, safe="")
    with running(SecuredKafkaNode(tmp_path / "kafka", kafka_jars)) as node:
        node.create_user()
        bootstrap = f"sasl_ssl://{USER}:{escaped}@{node.sasl}?mechanism=SCRAM-SHA-256&cafile={node.files.authority}"
        with ridelog(tmp_path / "data", kafka_bootstrap=bootstrap) as one:
            position = one.post(track("anna", now_ms()))["position"]
            assert one.speed_at("anna", position)["pings_in_window"] == 10
        logs = [*(tmp_path / "data" / "logs").iterdir(), tmp_path / "data.serve.log"]
        output = "".join(log.read_text() for log in logs)
    assert f"external server: sasl_ssl://{node.sasl}" in output
    assert escaped not in output
    assert PASSWORD not in output
