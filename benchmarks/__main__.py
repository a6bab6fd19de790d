"""``make bench``: benchmarks in turn, each on servers of its own: python -m benchmarks [NAME …], all without a name."""

from __future__ import annotations

import importlib
import sys

EVERY = (
    "append",
    "open_transaction",
    "one_by_one",
    "tailer",
    "rebuild",
    "parity",
    "postgres_sink",
    "batch_size",
    "kafka_clients",
    "speed_estimate",
    "speed_read",
    "http_servers",
    "end_to_end",
    "time_travel",
)


def main(names: list[str]) -> int:
    """Exit code 2, and nothing is run, for a name that is none."""
    unknown = [name for name in names if name not in EVERY]
    if unknown:
        sys.stderr.write(f"no benchmark: {', '.join(unknown)}; there are {', '.join(EVERY)}\n")
        return 2
    # Some take options of their own, which are not those of this command.
    del sys.argv[1:]
    for name in names or EVERY:
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
