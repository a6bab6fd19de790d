"""A Kafka that wants TLS and a name: both client libraries get in by its address alone, and nobody else does."""

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
from tests.support.servers.secured_kafka import PASSWORD, USER, SecuredNode
from tests.support.servers.servers import running

LIBRARIES = pytest.mark.parametrize("library", ["confluent", "kafka-python"])


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path) -> Iterator[SecuredNode]:
    with running(SecuredNode(tmp_path_factory.mktemp("secured"), kafka_jars)) as node:
        node.make_user()
        yield node


def by_password(node: SecuredNode, mechanism: str, password: str = PASSWORD) -> str:
    options = f"mechanism={mechanism}&cafile={node.files.authority}"
    return f"sasl_ssl://{USER}:{quote(password, safe='')}@{node.sasl}?{options}"


def by_certificate(node: SecuredNode) -> str:
    files = node.files
    return f"ssl://{node.mutual}?cafile={files.authority}&certfile={files.certificate}&keyfile={files.key}"


def there_and_back(bootstrap: str, library: str) -> None:
    """A topic is made, a record published, read by a group and found as the last one."""
    topic = f"t-{uuid.uuid4().hex}"
    ensure_topics(bootstrap, [topic], 1)
    event_id = str(uuid.uuid4())
    sent = ProducerRecord(topic, 0, b"anna", b"value", [("position", b"7"), ("id", event_id.encode())])
    deadline = time.monotonic() + 60
    with closing(publisher(library, bootstrap)) as out:
        taken = 0
        while not taken and time.monotonic() < deadline:
            taken = out.publish(1, [sent])
        out.seal(1)
        while time.monotonic() < deadline and not out.acknowledged(0.5):
            pass
        assert out.in_flight() == 0
    got: list[ConsumerRecord] = []
    with closing(consumer(library, bootstrap, topic, topic)) as coming:
        while not got and time.monotonic() < deadline:
            got = coming.poll(10, 0.5)
    assert [(record.key, record.value) for record in got] == [(b"anna", b"value")]
    assert last_records(bootstrap, topic, 1) == [(7, event_id)]


@LIBRARIES
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_by_a_password_over_tls(node: SecuredNode, library: str, mechanism: str) -> None:
    there_and_back(by_password(node, mechanism), library)


@LIBRARIES
def test_by_a_certificate_of_our_own(node: SecuredNode, library: str) -> None:
    there_and_back(by_certificate(node), library)


def test_a_wrong_password_is_told_and_not_shown(node: SecuredNode) -> None:
    with pytest.raises(TopicError, match="rejects the login") as refused:
        ensure_topics(by_password(node, "SCRAM-SHA-256", "wrong-pass-42"), ["t"], 1, timeout_s=5)
    assert "wrong-pass-42" not in str(refused.value)
    assert node.sasl in str(refused.value)


def test_a_broker_that_nobody_we_trust_vouches_for_is_not_spoken_to(node: SecuredNode) -> None:
    with pytest.raises(TopicError, match="rejects the login"):
        ensure_topics(f"sasl_ssl://{USER}:{quote(PASSWORD, safe='')}@{node.sasl}", ["t"], 1, timeout_s=5)
