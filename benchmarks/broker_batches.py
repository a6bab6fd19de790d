"""What a record costs the embedded broker, by the number of batches that its partition has: the limit of its restarts.

python -m benchmarks.broker_batches [--records N]

One producer sends records one by one, each as a batch, and one consumer reads each before the next is sent. For each
fetch that finds a record the broker lists all batches of the partition. The CPU is that of the broker alone.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

import psutil
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from benchmarks.cpu import seconds_of
from benchmarks.results import report
from infrastructure.embedded.tansu import Tansu
from infrastructure.supervision.broker_memory_limit import MAX_BATCHES

TURN_BATCHES: Final = 250
"""Batches whose CPU is measured together: the kernel counts in hundredths of a second."""
TOPIC: Final = "batches"


class OneByOne:
    """Produces and consumes records, each in a batch of its own."""

    def __init__(self, bootstrap: str, broker: psutil.Process) -> None:
        self._broker = broker
        self._partition = TopicPartition(TOPIC, 0)
        self.producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
        self.consumer = KafkaConsumer(bootstrap_servers=bootstrap)
        self.batches = 0
        self._send()
        self.consumer.assign([self._partition])
        self.consumer.seek_to_beginning(self._partition)

    def cost_ms(self, batches: int) -> float:
        """CPU of the broker for a record that is produced and read, in ms, over the next ``batches``."""
        before = seconds_of([self._broker])
        for _ in range(batches):
            self._send()
            while self.consumer.position(self._partition) < self.batches:
                self.consumer.poll(timeout_ms=1_000)
        return (seconds_of([self._broker]) - before) / batches * 1_000

    def _send(self) -> None:
        self.producer.send(TOPIC, b"x" * 200, partition=0).get(10)
        self.batches += 1


def main() -> None:
    """Measure, print and write the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--records", type=int, default=MAX_BATCHES, metavar="N")
    records = options.parse_args().records
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        server = Tansu(Path(folder))
        server.start()
        try:
            load = OneByOne(server.url, psutil.Process(server.pid))
            with closing(load.producer), closing(load.consumer):
                while load.batches < records:
                    cost_ms = load.cost_ms(TURN_BATCHES)
                    if load.batches < 2 * TURN_BATCHES or load.batches % 2_000 < TURN_BATCHES:
                        figures[f"CPU of the broker a record, after {load.batches:,} batches, ms"] = round(cost_ms, 2)
        finally:
            server.stop()
    report("broker_batches", figures)


if __name__ == "__main__":
    main()
