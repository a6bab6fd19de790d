"""The Apache Kafka that the tests start."""

from __future__ import annotations

from pathlib import Path

from infrastructure.embedded.server import free_port
from tests.support.servers.apache_kafka import KafkaNode
from tests.support.servers.servers import running


def test_a_cluster_id_that_begins_with_a_dash_is_not_an_option(tmp_path: Path, kafka_jars: Path) -> None:
    """Regression: one random id in 64 does, and then no test with Apache Kafka could run."""
    node = KafkaNode(tmp_path, kafka_jars, "-" + "A" * 21, 1, {1: free_port()})
    with running(node):
        assert node.is_alive()
    assert "cluster.id=-A" in (node.home / "log" / "meta.properties").read_text()
