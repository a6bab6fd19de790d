"""Compares the two Kafka libraries behind our ports: records per second and CPU per record, published and consumed."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable

from benchmarks.support import kafka, report
from infrastructure.kafka.admin import ensure_topics
from infrastructure.kafka.clients import consumer, publisher
from infrastructure.kafka.ports import ProducerRecord
from projections.core.ports import RecordConsumer

PARTITIONS = 8
VALUE_BYTES = 100
RECORDS = {"confluent": 300_000, "kafka-python": 30_000}
STALLED_S = 30.0
TOKEN_RECORDS = 1_000
HEADERS = [
    ("id", b"6f1ed002-ab55-5f70-9b3d-1c2a4f1b8a11"),
    ("eventType", b"GpsPing"),
    ("version", b"123456"),
    ("position", b"123456789"),
    ("seq", b"1234567"),
]


def measured(work: Callable[[], None], records: int) -> tuple[float, float]:
    """Records per second, and CPU microseconds of this process (all its threads) per record."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    work()
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return records / seconds, cpu / records * 1e6


def batch_of(topic: str, value: bytes) -> list[ProducerRecord]:
    return [ProducerRecord(topic, n % PARTITIONS, b"rider-%06d" % n, value, HEADERS) for n in range(TOKEN_RECORDS)]


def publish(library: str, bootstrap: str, topic: str, records: int) -> tuple[float, float]:
    """Publish as the tailer does: hand over, seal, and collect acknowledgements until all records are acknowledged."""
    made = publisher(library, bootstrap)
    batch = batch_of(topic, bytes(VALUE_BYTES))
    tokens = records // TOKEN_RECORDS

    def work() -> None:
        done = 0
        for token in range(tokens):
            left = batch
            while left := left[made.publish(token, left) :]:
                done += len(made.acknowledged(0.01))
            made.seal(token)
            done += len(made.acknowledged(0.0))
        while done < tokens:
            done += len(made.acknowledged(0.1))

    figures = measured(work, records)
    made.close()
    return figures


def consume(library: str, bootstrap: str, topic: str, records: int) -> tuple[float, float]:
    """Consume from the first record on; joining the group is not measured."""
    made = consumer(library, bootstrap, topic, f"bench-{library}")
    # The poll that brings the assignment may already bring a record.
    first = polled(made, 1)

    def work() -> None:
        read = first
        while read < records:
            read += polled(made, 5_000)

    figures = measured(work, records - first)
    made.close()
    return figures


def polled(topic: RecordConsumer, limit: int) -> int:
    """The number of records that one poll returned. Raises SystemExit if none arrive within STALLED_S."""
    deadline = time.monotonic() + STALLED_S
    while time.monotonic() < deadline:
        if count := len(topic.poll(limit, 0.1)):
            return count
    raise SystemExit(f"no record within {STALLED_S:.0f} s")


def main() -> None:
    # kafka-python logs a lot when the broker is stopped at the end.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    figures: dict[str, float] = {}
    with kafka() as bootstrap:
        for library, records in RECORDS.items():
            ensure_topics(bootstrap, [library], PARTITIONS)
            for what, run in (("publish", publish), ("consume", consume)):
                rate, cpu = run(library, bootstrap, library, records)
                figures[f"{library}, {what}, records/s"] = rate
                figures[f"{library}, {what}, CPU µs a record"] = cpu
    for what in ("publish", "consume"):
        for unit in ("records/s", "CPU µs a record"):
            ours, other = (figures[f"{library}, {what}, {unit}"] for library in RECORDS)
            figures[f"{what}: confluent / kafka-python, {unit}"] = ours / other
    report("kafka_clients", figures)


if __name__ == "__main__":
    main()
