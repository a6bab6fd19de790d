"""Runs the named or all benchmarks, each on its own servers: python -m benchmarks [NAME …] (``make bench``)."""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = (
    "append",
    "append_writers",
    "open_transaction",
    "one_by_one",
    "tailer",
    "rebuild",
    "parity",
    "postgres_sink",
    "batch_size",
    "kafka_clients",
    "broker_batches",
    "speed_estimate",
    "speed_read",
    "read_cost",
    "redis_cluster",
    "footprint",
    "serve_cpu",
    "eta",
    "http_servers",
    "end_to_end",
    "time_travel",
    "lineage",
    "places",
    "live_feed",
    "training_set",
    "payments",
    "traffic_fold",
    "spoofing_fold",
    "eta_real_trips",
    "eta_simulator",
    "eta_calibration",
)


def main(names: list[str]) -> int:
    """Run the named benchmarks. For an unknown name the exit code is 2 and nothing runs."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.stderr.write(f"unknown benchmark: {', '.join(unknown)}; known are {', '.join(BENCHMARKS)}\n")
        return 2
    # Some benchmarks parse their own options; the arguments of this command are not theirs.
    del sys.argv[1:]
    for name in names or BENCHMARKS:
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
