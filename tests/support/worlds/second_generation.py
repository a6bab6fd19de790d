"""Follows a generation by the runner's own worker: what the jobs on Flink are compared with.

python -m tests.support.worlds.second_generation GENERATION PROJECTION…   follows until SIGTERM.
"""

from __future__ import annotations

import sys
import threading

from infrastructure.processes.projection_worker import ProjectionWorker
from infrastructure.processes.runtime import stop_event
from infrastructure.settings.settings import Settings
from projections.catalogue import PROJECTIONS


def main(generation: int, names: list[str]) -> None:
    """Follow ``generation`` of each projection, one thread each, from the topic, as a worker of ``serve`` does."""
    settings, stop = Settings.load(toml=None), stop_event()
    workers = [ProjectionWorker(settings, PROJECTIONS[name], generation, lambda: False, stop) for name in names]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
