"""``make kafka``: Apache Kafka from Maven Central on free ports of loopback, until Ctrl-C.

python -m tests.support.servers.run_kafka [--brokers 1|3] [--data-dir DIR]
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.support.servers.apache_kafka import KafkaCluster
from tests.support.servers.java import jars, missing
from tests.support.servers.servers import running


def main() -> int:
    """Run until Ctrl-C. Exit code 1 if Java or Maven is missing."""
    parser = argparse.ArgumentParser(prog="make kafka", description=__doc__)
    parser.add_argument(
        "--brokers", type=int, choices=(1, 3), default=1, help="with three, they replicate to each other"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="where the log is stored; without it, the log is deleted at the end"
    )
    options = parser.parse_args()
    lacking = missing()
    if lacking is not None:
        sys.stderr.write(f"{lacking}\n")
        return 1
    ended = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ended)
    with ExitStack() as stack:
        folder = options.data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ridelog-kafka-")))
        sys.stderr.write("fetching Apache Kafka (once), then starting it …\n")
        cluster = stack.enter_context(running(KafkaCluster(folder.resolve(), jars("kafka"), options.brokers)))
        sys.stdout.write(f"export RIDELOG_KAFKA_BOOTSTRAP={cluster.url}\n")
        sys.stderr.write("ready; python app.py serve with that line uses it. Ctrl-C ends it.\n")
        sys.stdout.flush()
        signal.sigwait(ended)
    return 0


if __name__ == "__main__":
    sys.exit(main())
