"""The SQL of the streaming job: Kafka and heartbeats in, one row for a subtask and a short window out. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from infrastructure.errors import UserError
from infrastructure.settings.kafka_address import KafkaAddress

HEADERS = ("eventType", "version", "position", "seq")
"""Headers of a record that a fold needs, in the order of the gathered columns."""
HEARTBEATS_PER_PARTITION_S = 2
"""An idle partition has no window of its own, and its lost last record would never be found. At random, so some come
after seconds only: the check of idle shards is due every two seconds."""

FETCHES = {"fetch.min.bytes": str(256 << 10), "fetch.max.wait.ms": "50"}
"""By default the broker answers a fetch as soon as it has one record. Each fetch costs the JVM and the broker CPU, and
under a steady load of small commits one is under way all the time. A record waits at most 50 ms instead, and less above
5 MB/s a subtask."""
USERNAME, PASSWORD, CLIENT_KEY = "KAFKA_USERNAME", "KAFKA_PASSWORD", "KAFKA_CLIENT_KEY"
"""Variables of JobManager and TaskManager, for a Kafka that wants a login or a client's certificate. The third is the
key itself, as PEM. In the first two a double quote or a backslash has a backslash before it, as JAAS wants it."""
_SHADED = "org.apache.flink.kafka.shaded.org.apache.kafka.common"
"""The connector's jar relocates Kafka's classes."""
_PROVIDER = "EnvVarConfigProvider"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

BATCHES = """
SELECT {gathered}
FROM TABLE(TUMBLE(TABLE arrivals, DESCRIPTOR(arrived), INTERVAL '{seconds}' SECOND(3, 3)))
GROUP BY window_start, window_end, partition_group
""".strip()
COLUMNS = ("partition", "offset", "record_key", "payload", *HEADERS)


class TopicSource(NamedTuple):
    """A topic to read, from the given offset of each partition on."""

    address: KafkaAddress
    topic: str
    group: str
    starts: Mapping[int, int]


def records_table(source: TopicSource) -> str:
    """DDL of the table of the topic's records: raw key and value, partition, offset and headers.

    Out-of-range offsets (a wiped or truncated topic) continue at the earliest: that costs duplicates, never an event.
    """
    offsets = ";".join(f"partition:{partition},offset:{offset}" for partition, offset in sorted(source.starts.items()))
    options = {
        "connector": "kafka",
        "topic": source.topic,
        "properties.group.id": source.group,
        "properties.auto.offset.reset": "earliest",
        "scan.startup.mode": "specific-offsets",
        "scan.startup.specific-offsets": offsets,
        "key.format": "raw",
        "key.fields": "record_key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        **{f"properties.{name}": value for name, value in {**FETCHES, **java_client(source.address)}.items()},
    }
    return (
        "CREATE TABLE records (record_key BYTES, payload BYTES, `partition` INT METADATA VIRTUAL, "
        "`offset` BIGINT METADATA VIRTUAL, headers MAP<STRING NOT NULL, BYTES> METADATA VIRTUAL, "
        f"arrived AS PROCTIME()) WITH ({_options(options)})"
    )


def heartbeats_table(partitions: int) -> str:
    """DDL of a source that names partitions at random, so that each has a row although no record comes."""
    options = {
        "connector": "datagen",
        "rows-per-second": str(HEARTBEATS_PER_PARTITION_S * partitions),
        "scan.parallelism": "1",
        "fields.partition.kind": "random",
        "fields.partition.min": "0",
        "fields.partition.max": str(partitions - 1),
    }
    return f"CREATE TABLE heartbeats (`partition` INT, arrived AS PROCTIME()) WITH ({_options(options)})"


def arrivals_view(partition_group: str) -> str:
    """DDL of the union of both. A heartbeat has no offset. ``partition_group``: SQL for the key of the gathering."""
    found = ", ".join(f"headers['{name}'] AS `{name}`" for name in HEADERS)
    empty = ", ".join(f"CAST(NULL AS BYTES) AS `{name}`" for name in ("record_key", "payload", *HEADERS))
    return (
        f"CREATE TEMPORARY VIEW arrivals AS SELECT *, {partition_group} AS partition_group "
        f"FROM (SELECT `partition`, `offset`, record_key, payload, {found}, arrived FROM records UNION ALL "
        f"SELECT `partition`, CAST(NULL AS BIGINT) AS `offset`, {empty}, arrived FROM heartbeats)"
    )


def batches_query(gather_ms: int) -> str:
    """The query of the batches: columns, because an array of rows costs Python's coder 23 µs more for each record.

    ``gather_ms``: for how long the records of the partitions of one group are gathered into one batch.
    """
    gathered = ", ".join(f"ARRAY_AGG(`{name}`) AS `{name}s`" for name in COLUMNS)
    return BATCHES.format(gathered=gathered, seconds=f"{gather_ms / 1000:.3f}")


def java_client(address: KafkaAddress) -> dict[str, str]:
    """The settings of Kafka's Java client. They become part of the job graph, as every option of a table does.

    So they have no secret: Kafka's own provider puts it in place where the client is made, from the environment of
    JobManager and TaskManager. Flink gets the certificates themselves, not paths of this machine, and of a file that
    also has a key the certificates alone. Raises OSError if such a file cannot be read, and UserError if it has none.
    """
    found = {"bootstrap.servers": address.servers, "security.protocol": address.protocol.upper()}
    if address.mechanism or address.certfile:
        found |= {"config.providers": "env", "config.providers.env.class": f"{_SHADED}.config.provider.{_PROVIDER}"}
    if address.mechanism:
        module = "plain.PlainLoginModule" if address.mechanism == "PLAIN" else "scram.ScramLoginModule"
        login = f'username="{_from_environment(USERNAME)}" password="{_from_environment(PASSWORD)}"'
        found["sasl.mechanism"] = address.mechanism
        found["sasl.jaas.config"] = f"{_SHADED}.security.{module} required {login};"
    if address.cafile:
        found |= {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": _certificates(address.cafile)}
    if address.certfile:
        found |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": _certificates(address.certfile),
            "ssl.keystore.key": _from_environment(CLIENT_KEY),
        }
    return found


def _from_environment(variable: str) -> str:
    return f"${{env:{variable}}}"


def _certificates(path: str) -> str:
    with open(path, encoding="ascii") as file:
        found = _CERTIFICATE.findall(file.read())
    if not found:
        raise UserError(f"{path} has no certificate: a PEM file has blocks that begin with -----BEGIN CERTIFICATE-----")
    return "".join(f"{block}\n" for block in found)


def _options(options: Mapping[str, str]) -> str:
    return ", ".join(f"'{name}' = {_literal(value)}" for name, value in options.items())


def _literal(value: str) -> str:
    escaped = value.replace("'", "''")
    return f"'{escaped}'"
