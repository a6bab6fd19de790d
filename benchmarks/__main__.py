"""``make bench``: every benchmark in turn, each on servers of its own."""

from __future__ import annotations

from benchmarks import (
    append,
    batch_size,
    end_to_end,
    kafka_clients,
    parity,
    postgres_sink,
    rebuild,
    speed_estimate,
    speed_read,
    tailer,
    time_travel,
)

EVERY = (
    append,
    tailer,
    rebuild,
    parity,
    postgres_sink,
    batch_size,
    kafka_clients,
    speed_estimate,
    speed_read,
    end_to_end,
    time_travel,
)
for benchmark in EVERY:
    benchmark.main()
