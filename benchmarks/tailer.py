"""The tailer on a backlog, from the WAL to a broker that acknowledges; compared with Debezium and with only reading.

    python -m benchmarks.tailer [--events 1000000]

All three read the same events, which are in the WAL before they start, each from its own slot, on one Postgres and, if
Java and Maven are installed, one broker of Apache Kafka. CPU is that of the tailer alone, without Postgres and Kafka;
it is more reliable than the rate when other programs share the cores. Debezium is measured from when its worker is up,
and reported twice: for all events, and for the second half, when its compiler is warm.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from benchmarks.results import at_least, report
from benchmarks.support import ready_events
from infrastructure.cdc.replication_slot import create_slot, ensure_publication
from infrastructure.cdc.replication_stream import ReplicationStream
from infrastructure.cdc.wal_relay import wal_relay
from infrastructure.embedded.postgres import Postgres
from infrastructure.embedded.tansu import Tansu
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.kafka.admin import ensure_topics
from infrastructure.kafka.topics import topics
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.postgres.migrations import upgrade
from infrastructure.process_pool import tune_gc
from infrastructure.settings.settings import Settings
from tests.support.kafka.debezium import Connect, tcp_home
from tests.support.servers import java
from tests.support.servers.apache_kafka import KafkaCluster
from tests.support.servers.servers import running
from tests.support.waiting import eventually

EVENTS = 1_000_000
BATCH = 1_000
RATE_TARGET = 100_000
RATIO_TARGET = 5
# As in production: enough memory, the default garbage collector, both compilers.
JAVA = ("-Xms1g", "-Xmx2g")


class Cost(NamedTuple):
    """Wall and CPU seconds for ``events`` events."""

    events: int
    seconds: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds

    @property
    def per_cpu_s(self) -> float:
        """Events per CPU second."""
        return self.events / self.cpu_s


def own_cpu_s() -> float:
    """CPU seconds of this process, including all its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of a process and of those that it started."""
    root = psutil.Process(pid)
    times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def measured(events: int, cpu_s: Callable[[], float], work: Callable[[], None]) -> Cost:
    started, cpu = time.perf_counter(), cpu_s()
    work()
    return Cost(events, time.perf_counter() - started, cpu_s() - cpu)


def ours(settings: Settings, events: int) -> Cost:
    """Relay until all is acknowledged, as the tailer's process does, including checkpoints and heartbeats."""
    assert settings.postgres_url is not None
    engine = reader_engine(settings.postgres_url)
    ensure_topics(settings.kafka_bootstrap or "", list(topics(settings).values()), settings.topic_partitions)
    tune_gc()
    with wal_relay(settings, engine) as relay:

        def until_acknowledged() -> None:
            while (relay.transactions.progress.position or 0) < events:
                relay.step(0.1)

        cost = measured(events, own_cpu_s, until_acknowledged)
        assert relay.transactions.progress.filled == 0, "the table was read, not the WAL"
    engine.dispose()
    return cost


def read_only(settings: Settings, events: int) -> Cost:
    """Only read the messages from the WAL."""
    stream = ReplicationStream(settings.postgres_url or "", settings.slot_name, settings.publication_name)

    def until_read() -> None:
        rows = 0
        while rows < events:
            batch = stream.read(2_000)
            rows += sum(message[0] == 0x49 for message in batch.messages)
            if batch.drained:
                stream.wait(0.1)

    cost = measured(events, own_cpu_s, until_read)
    stream.close()
    return cost


def debezium(settings: Settings, events: int, folder: Path) -> tuple[Cost, Cost]:
    """Relay with deploy/debezium/ until all is acknowledged. Returns the cost of all events and of the second half."""
    topic = topics(settings)["Rider"]
    ensure_topics(settings.kafka_bootstrap or "", list(topics(settings).values()), settings.topic_partitions)
    partitions = [TopicPartition(topic, number) for number in range(settings.topic_partitions)]
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap or ""})
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]

    def until_published(count: int) -> None:
        def published() -> bool:
            found = admin.list_offsets(dict.fromkeys(partitions, latest))
            return bool(sum(one.result().offset for one in found.values()) >= count)

        eventually(published, within_s=1_800, every_s=0.1, what=f"Debezium has published {count:,} events")

    with running(Connect(folder, java.jars("debezium"), settings, JAVA)) as worker:
        pid = worker.pid
        assert pid is not None

        def first() -> None:
            worker.put("ridelog")
            until_published(events // 2)

        cold = measured(events // 2, lambda: tree_cpu_s(pid), first)
        warm = measured(events - events // 2, lambda: tree_cpu_s(pid), lambda: until_published(events))
    return Cost(events, cold.seconds + warm.seconds, cold.cpu_s + warm.cpu_s), warm


@contextmanager
def servers(lacking: str | None) -> Iterator[tuple[Path, str, str]]:
    """A folder, the URL of a migrated database on TCP (Debezium supports nothing else), and a broker's address."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # The server's own user needs access.
        folder.chmod(0o755)
        server = stack.enter_context(running(Postgres(tcp_home(folder))))
        broker = Tansu(folder) if lacking else KafkaCluster(folder / "kafka", java.jars("kafka"))
        stack.enter_context(running(broker))
        upgrade(server.url)
        yield folder, server.url, broker.url


def write(url: str, events: int) -> None:
    """Record ``events`` events in transactions of BATCH."""
    engine = writer_engine(url)
    recorder, ready = EventRecorder(engine), ready_events(events)
    for first in range(0, events, BATCH):
        recorder.insert_events(ready[first : first + BATCH])
    engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tailer")
    parser.add_argument("--events", type=int, default=EVENTS)
    events = parser.parse_args().events
    lacking = java.missing()
    with servers(lacking) as (folder, url, bootstrap):
        raw, own, other = (
            Settings(
                data_dir=folder,
                postgres_url=url,
                kafka_bootstrap=bootstrap,
                slot_name=f"bench_{name}",
                publication_name="bench",
                topic_prefix=f"{name}.",
            )
            for name in ("raw", "ours", "debezium")
        )
        engine = reader_engine(url)
        ensure_publication(engine, "bench")
        for one in (raw, own, other):
            create_slot(engine, one.slot_name)
        engine.dispose()
        write(url, events)
        reading, mine = read_only(raw, events), ours(own, events)
        targets = {"ours, events/s to acknowledged": at_least(RATE_TARGET)}
        figures: dict[str, object] = {
            "events": events,
            "ours, events/s to acknowledged": mine.rate,
            "ours, events per CPU second": mine.per_cpu_s,
            "reading pgoutput only, events/s": reading.rate,
            "reading pgoutput only, events per CPU second": reading.per_cpu_s,
            "ratio ours / reading only, events/s": mine.rate / reading.rate,
        }
        if lacking:
            print(f"without Debezium, and on the embedded broker: {lacking}")
        else:
            targets["ratio ours / Debezium per CPU second"] = at_least(RATIO_TARGET)
            whole, warm = debezium(other, events, folder / "connect")
            figures |= {
                "Debezium, events/s to acknowledged": whole.rate,
                "Debezium, events per CPU second": whole.per_cpu_s,
                "Debezium, second half, events/s": warm.rate,
                "Debezium, second half, events per CPU second": warm.per_cpu_s,
                "ratio ours / Debezium per CPU second": mine.per_cpu_s / whole.per_cpu_s,
                "ratio ours / Debezium's second half per CPU second": mine.per_cpu_s / warm.per_cpu_s,
                "ratio ours / Debezium, events/s": mine.rate / whole.rate,
            }
    report("tailer", figures, targets)


if __name__ == "__main__":
    main()
