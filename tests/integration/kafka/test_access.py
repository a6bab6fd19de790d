"""A Kafka with TLS and authentication: both client libraries connect by its address alone; others are rejected."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from infrastructure.kafka.admin import TopicError, ensure_topics, last_records
from infrastructure.kafka.clients import consumer, publisher
from infrastructure.kafka.ports import ProducerRecord
from projections.core.ports import ConsumerRecord
from tests.support.servers.secured_kafka import PASSWORD, USER, SecuredKafkaNode
from tests.support.servers.servers import running
from tests.support.time_limits import scaled_s

LIBRARIES = pytest.mark.parametrize("library", ["confluent", "kafka-python"])


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path) -> Iterator[SecuredKafkaNode]:
    with running(SecuredKafkaNode(tmp_path_factory.mktemp("secured"), kafka_jars)) as node:
        node.create_user()
        yield node


def by_password(node: SecuredKafkaNode, mechanism: str, password: str = PASSWORD) -> str:
    options = f"mechanism={mechanism}&cafile={node.files.authority}"
    return f"sasl_ssl://{USER}:{quote(password, safe='')}@{node.sasl}?{options}"


def by_certificate(node: SecuredKafkaNode) -> str:
    files = node.files
    return f"ssl://{node.mutual}?cafile={files.authority}&certfile={files.certificate}&keyfile={files.key}"


def round_trip(bootstrap: str, library: str) -> None:
    """Create a topic, publish a record, consume it in a group, and find it as the last record."""
    topic = f"t-{uuid.uuid4().hex}"
    ensure_topics(bootstrap, [topic], 1)
    event_id = str(uuid.uuid4())
    sent = ProducerRecord(topic, 0, b"anna", b"value", [("position", b"7"), ("id", event_id.encode())])
    deadline = time.monotonic() + scaled_s(60)
    with closing(publisher(library, bootstrap)) as producer:
        accepted = 0
        while not accepted and time.monotonic() < deadline:
            accepted = producer.publish(1, [sent])
        producer.seal(1)
        while time.monotonic() < deadline and not producer.acknowledged(0.5):
            pass
        assert producer.in_flight() == 0
    got: list[ConsumerRecord] = []
    with closing(consumer(library, bootstrap, topic, topic)) as reader:
        while not got and time.monotonic() < deadline:
            got = reader.poll(10, 0.5)
    assert [(record.key, record.value) for record in got] == [(b"anna", b"value")]
    assert last_records(bootstrap, topic, 1) == [(7, event_id)]


@LIBRARIES
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_by_a_password_over_tls(node: SecuredKafkaNode, library: str, mechanism: str) -> None:
    round_trip(by_password(node, mechanism), library)


@LIBRARIES
def test_by_a_certificate_of_our_own(node: SecuredKafkaNode, library: str) -> None:
    round_trip(by_certificate(node), library)


def test_a_wrong_password_is_reported_and_not_shown(node: SecuredKafkaNode) -> None:
    with pytest.raises(TopicError, match="rejects the login") as error:
        ensure_topics(by_password(node, "SCRAM-SHA-256", "wrong-pass-42"), ["t"], 1, timeout_s=5)
    assert "wrong-pass-42" not in str(error.value)
    assert node.sasl in str(error.value)


def test_a_broker_without_a_trusted_certificate_is_rejected(node: SecuredKafkaNode) -> None:
    with pytest.raises(TopicError, match="rejects the login"):
        ensure_topics(f"sasl_ssl://{USER}:{quote(PASSWORD, safe='')}@{node.sasl}", ["t"], 1, timeout_s=5)
