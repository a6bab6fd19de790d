"""What is lost or counted twice under faults: Ridelog's runner, Ridelog on Flink, Quix Streams with exactly-once.

make quix [QUIX="--events N"]

One log is published to one topic of Apache Kafka. The three engines follow it at the same time, each with a store of
its own. Then all three are killed in mid-load; all sleep while records come and are deleted (DeleteRecords, or a
retention that is too short); and the producer sends its last records again, as every at-least-once producer does after
a kill. After each fault the states are compared with the log, event by event. Needs `make flink`, Java 17 and Maven.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from kafka import TopicPartition

from benchmarks.quix.engines import PARALLELISM, Damage, Engine, Quix, RidelogOnFlink, RidelogRunner
from benchmarks.results import report
from benchmarks.support import postgres, redis_server
from infrastructure.kafka.admin import admin
from infrastructure.kafka.topics import ensure_topics, topics
from infrastructure.settings.settings import Settings
from tests.support.faults.world import frozen
from tests.support.servers.apache_kafka import KafkaCluster
from tests.support.servers.flink_cluster import JobManager, TaskManager, missing_environment
from tests.support.servers.java import jars, missing
from tests.support.servers.servers import running
from tests.support.worlds.flink_world import PublishedLog

SENT_AGAIN = 2_000
CHECKPOINT_MS = 3_000


class Faults:
    """What happens to all three engines at the same time."""

    def __init__(self, settings: Settings, log: PublishedLog, engines: list[Engine], events: int) -> None:
        self._settings = settings
        self._log = log
        self._engines = engines
        self._events = events

    def nothing(self) -> None:
        self._log.publish(self._events)

    def killed(self) -> None:
        self._log.publish(self._events // 2)
        for engine in self._engines:
            engine.kill()
        self._log.publish(self._events // 2)
        for engine in self._engines:
            engine.start()

    def truncated(self) -> None:
        """Records come while the engines sleep, and are deleted before they wake."""
        with frozen([pid for engine in self._engines for pid in engine.pids()]):
            self._log.publish(self._events)
            topic = topics(self._settings)["Rider"]
            with admin(self._settings.kafka_bootstrap or "") as client:
                ends = {TopicPartition(topic, number): -1 for number in range(self._settings.topic_partitions)}
                client.delete_records(ends, timeout_ms=10_000)
        self._log.publish(self._events)

    def sent_again(self) -> None:
        self._log.publish_again(SENT_AGAIN)
        self._log.publish(self._events)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000, help="events published with each fault")
    parser.add_argument("--riders", type=int, default=2_000)
    options = parser.parse_args()
    if (lacking := missing_environment() or missing()) is not None:
        raise SystemExit(lacking)
    with everything(options.riders, options.events) as (log, engines, faults):
        for engine in engines:
            engine.start()
        table: dict[str, dict[str, Damage]] = {}
        steps: dict[str, Callable[[], None]] = {
            "no fault": faults.nothing,
            "kill -9 of the engine in mid-load": faults.killed,
            f"the broker deletes {options.events:,} records that it had not read": faults.truncated,
            f"the producer sends its last {SENT_AGAIN:,} records again": faults.sent_again,
        }
        before = {engine.name: Damage(0, 0) for engine in engines}
        for name, step in steps.items():
            step()
            found = {engine.name: engine.damage() for engine in engines}
            table[name] = {
                engine: Damage(now.lost - before[engine].lost, now.doubled - before[engine].doubled)
                for engine, now in found.items()
            }
            before = found
            print(name, table[name], flush=True)
        figures = {
            f"{fault}: {engine}": f"lost {damage.lost:,}, doubled {damage.doubled:,}"
            for fault, row in table.items()
            for engine, damage in row.items()
        }
        report("quix", figures)
        print(markdown(table, log.recorded))


def markdown(table: dict[str, dict[str, Damage]], events: int) -> str:
    """The table of docs/scaling.md."""
    names = list(next(iter(table.values())))
    lines = [f"| {events:,} events, lost / counted twice | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for fault, row in table.items():
        lines.append(f"| {fault} | {' | '.join(f'{d.lost:,} / {d.doubled:,}' for d in row.values())} |")
    return "\n".join(lines)


@contextmanager
def everything(riders: int, events: int) -> Iterator[tuple[PublishedLog, list[Engine], Faults]]:
    """Servers and engines; none of the engines is started."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url, redis_of_runner, redis_of_flink = (
            stack.enter_context(one) for one in (postgres(), redis_server(), redis_server())
        )
        kafka = stack.enter_context(running(KafkaCluster(folder / "kafka", jars("kafka"))))
        jobmanager = stack.enter_context(running(JobManager(folder)))
        settings = Settings(data_dir=folder, postgres_url=url, redis_url=redis_of_runner, kafka_bootstrap=kafka.url)
        ensure_topics(settings)
        log = PublishedLog(settings, riders)
        stack.callback(log.close)
        on_flink = msgspec.structs.replace(
            settings, redis_url=redis_of_flink, flink_url=jobmanager.url, flink_checkpoint_ms=CHECKPOINT_MS
        )
        taskmanager = TaskManager(folder, jobmanager, 1, on_flink.environment(), PARALLELISM)
        topic = topics(settings)["Rider"]
        engines: list[Engine] = [
            RidelogRunner(settings, log),
            RidelogOnFlink(on_flink, log, taskmanager),
            Quix(kafka.url, topic, settings.topic_partitions, folder, log),
        ]
        for engine in engines:
            stack.callback(engine.kill)
        yield log, engines, Faults(settings, log, engines, events)


if __name__ == "__main__":
    main()
