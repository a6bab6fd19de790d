"""The SQL of the job, and the records that are made of its rows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infrastructure.flink.environment import FOLDER, LIB, FlinkEnvironment
from infrastructure.flink.gathered_batches import batches_of
from infrastructure.flink.statements import (
    HEADERS,
    TopicSource,
    arrivals_view,
    batches_query,
    heartbeats_table,
    java_client,
    records_table,
)
from infrastructure.settings.kafka_address import KafkaAddress, kafka_address
from projections.core.records import ForeignRecord, logged_event
from tests.support.servers.flink_cluster import missing_environment
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s

PLAIN = kafka_address("broker:9092")
SHADED = "org.apache.flink.kafka.shaded.org.apache.kafka"
SHADED_DESERIALIZER = f"{SHADED}.common.serialization.ByteArrayDeserializer"
PRINT_JAAS = (
    f"var c = new {SHADED}.clients.consumer.ConsumerConfig(p);\n"
    'System.out.println(c.getPassword("sasl.jaas.config").value());\n'
)


def source(address: KafkaAddress = PLAIN, topic: str = "gps-pings") -> TopicSource:
    return TopicSource(address, topic, "ridelog-speed-flink", {1: 40, 0: 7})


def test_the_source_starts_at_the_given_offsets_and_goes_back_to_the_earliest() -> None:
    ddl = records_table(source())
    assert "'scan.startup.specific-offsets' = 'partition:0,offset:7;partition:1,offset:40'" in ddl
    assert "'properties.auto.offset.reset' = 'earliest'" in ddl


def test_a_fetch_waits_for_many_records_and_not_for_long() -> None:
    ddl = records_table(source())
    assert "'properties.fetch.min.bytes' = '262144'" in ddl
    assert "'properties.fetch.max.wait.ms' = '50'" in ddl


def test_a_quote_in_a_value_ends_no_literal() -> None:
    assert "'topic' = 'it''s'" in records_table(source(topic="it's"))


def test_the_job_says_where_the_cluster_finds_login_and_key_and_has_neither(tmp_path: Path) -> None:
    for name in ("cert", "key"):
        kind = {"cert": "CERTIFICATE", "key": "PRIVATE KEY"}[name]
        (tmp_path / f"{name}.pem").write_text(f"-----BEGIN {kind}-----\nabc\n-----END {kind}-----\n")
    address = kafka_address("sasl_ssl://user:secret@broker:9093?mechanism=SCRAM-SHA-512")._replace(
        certfile=str(tmp_path / "cert.pem"), keyfile=str(tmp_path / "key.pem")
    )
    found = java_client(address)
    assert (found["security.protocol"], found["sasl.mechanism"]) == ("SASL_SSL", "SCRAM-SHA-512")
    login = 'ScramLoginModule required username="${env:KAFKA_USERNAME}" password="${env:KAFKA_PASSWORD}";'
    assert found["sasl.jaas.config"].endswith(login)
    assert found["ssl.keystore.key"] == "${env:KAFKA_CLIENT_KEY}"
    assert not any(part in value for part in ("secret", "PRIVATE KEY", str(tmp_path)) for value in found.values())


def test_regression_of_a_file_with_certificates_and_a_key_only_the_certificates_are_in_the_job(tmp_path: Path) -> None:
    blocks = [
        f"-----BEGIN {name}-----\n{name.lower()}\n-----END {name}-----\n" for name in ("CERTIFICATE", "PRIVATE KEY")
    ]
    both = tmp_path / "client.pem"
    both.write_text(blocks[1] + blocks[0] + "a comment\n" + blocks[0])
    address = kafka_address("ssl://broker:9093")._replace(certfile=str(both), keyfile=str(both), cafile=str(both))
    found = java_client(address)
    assert found["ssl.keystore.certificate.chain"] == found["ssl.truststore.certificates"] == 2 * blocks[0]
    assert "PRIVATE KEY" not in records_table(source(address=address))


def test_the_clients_of_the_connector_put_login_and_key_in_place() -> None:
    environment = FlinkEnvironment(ROOT / FOLDER)
    if (lacking := missing_environment()) is not None:
        pytest.skip(lacking)
    if shutil.which("jshell") is None:
        pytest.skip("jshell not found: install the JDK 17, not the JRE alone")
    jars = ":".join(str(jar) for jar in (environment.folder / LIB).glob("*.jar"))
    options = java_client(kafka_address("sasl_ssl://user:secret@broker:9093?mechanism=PLAIN")) | {
        f"{side}.deserializer": SHADED_DESERIALIZER for side in ("key", "value")
    }
    program = "".join(f"p.put({json.dumps(name)}, {json.dumps(value)});\n" for name, value in options.items())
    found = subprocess.run(
        ["jshell", "--class-path", jars, "-"],
        input=f"var p = new java.util.HashMap<String, Object>();\n{program}{PRINT_JAAS}",
        env={**os.environ, "KAFKA_USERNAME": "user", "KAFKA_PASSWORD": "secret"},
        capture_output=True,
        text=True,
        timeout=scaled_s(60),
        check=True,
    )
    assert 'username="user" password="secret";' in found.stdout


def test_certificates_are_given_to_flink_and_no_paths(tmp_path: Path) -> None:
    certificate = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"
    (tmp_path / "ca.pem").write_text(certificate)
    address = PLAIN._replace(protocol="ssl", cafile=str(tmp_path / "ca.pem"))
    found = java_client(address)
    assert found["ssl.truststore.certificates"] == certificate
    assert not any(str(tmp_path) in value for value in found.values())


@pytest.mark.parametrize(("gather_ms", "seconds"), [(200, "0.200"), (1_500, "1.500"), (10, "0.010")])
def test_the_window_has_the_gather_time(gather_ms: int, seconds: str) -> None:
    assert f"INTERVAL '{seconds}' SECOND(3, 3)" in batches_query(gather_ms)


def test_every_column_of_the_view_is_gathered() -> None:
    query, view = batches_query(200), arrivals_view("0")
    for name in ("partition", "offset", "record_key", "payload", *HEADERS):
        assert f"ARRAY_AGG(`{name}`)" in query
    assert all(view.count(f"`{name}`") == 2 for name in HEADERS)


def test_every_partition_gets_heartbeats() -> None:
    ddl = heartbeats_table(8)
    assert "'rows-per-second' = '16'" in ddl
    assert "'fields.partition.max' = '7'" in ddl


def test_a_row_becomes_the_records_that_a_consumer_polls() -> None:
    row: list[list[Any]] = [[2, 4, 2], [5, 9, 6], [b"a", b"c", b"a"], [b"x", b"z", b"y"], [b"GpsPing"] * 3]
    found = batches_of([*row, [b"1", b"7", b"2"], [b"9", b"11", b"10"], [b"3", b"8", b"4"]], "t")
    assert [(one.partition, one.offset, one.key, one.value) for one in found[2]] == [
        (2, 5, b"a", b"x"),
        (2, 6, b"a", b"y"),
    ]
    assert dict(found[2][1].headers) == {"eventType": b"GpsPing", "version": b"2", "position": b"10", "seq": b"4"}
    assert [(one.partition, one.offset) for one in found[4]] == [(4, 9)]


def test_a_heartbeat_names_its_partition_and_has_no_records() -> None:
    assert batches_of([[2], *[[None]] * 7], "t") == {2: []}


def test_heartbeats_among_records_are_left_out() -> None:
    row: list[list[Any]] = [
        [2, 2, 3],
        [None, 5, None],
        *([None, text, None] for text in (b"a", b"x", b"GpsPing", b"1", b"9", b"3")),
    ]
    assert {partition: len(records) for partition, records in batches_of(row, "t").items()} == {2: 1, 3: 0}


def test_a_record_without_key_value_or_header_is_foreign_as_everywhere() -> None:
    ((one,),) = batches_of([[2], [5], [None], [None], [None], [b"1"], [b"1"], [b"1"]], "t").values()
    assert (one.key, one.value) == (b"", b"")
    assert [name for name, _ in one.headers] == ["version", "position", "seq"]
    with pytest.raises(ForeignRecord):
        logged_event(one, 8)


def test_columns_of_different_lengths_are_no_batch() -> None:
    with pytest.raises(ValueError, match="zip"):
        batches_of([[2, 2], [5, 6], [b"a"], [b"x"], [b"GpsPing"], [b"1"], [b"9"], [b"3"]], "t")
