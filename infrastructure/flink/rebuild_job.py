"""The program that the Flink client runs for a rebuild: one element of shards for each subtask. Imports pyflink."""

from __future__ import annotations

import argparse
import json

from pyflink.common import Types

from infrastructure.backends import projection_named
from infrastructure.flink.bounded_environment import bounded_environment
from infrastructure.flink.fill_function import FillShards
from infrastructure.flink.job_options import rebuild_name
from infrastructure.flink.rebuild_fill import shard_parts
from infrastructure.settings.settings import Settings
from projections.digest.digest import fold_digest


def main() -> None:
    """Submit the job that fills a generation."""
    parser = argparse.ArgumentParser()
    parser.add_argument("projection")
    parser.add_argument("generation", type=int)
    parser.add_argument("targets", help="shard -> seq, as JSON")
    parser.add_argument("--export", help="folder with the beginning of the log")
    options = parser.parse_args()
    settings = Settings.load()
    targets = {int(shard): seq for shard, seq in json.loads(options.targets).items()}
    environment = bounded_environment()
    elements = [json.dumps(part) for part in shard_parts(targets, environment.get_parallelism())]
    digest = fold_digest(projection_named(options.projection))
    filled = (
        environment.from_collection(elements, type_info=Types.STRING())
        .rebalance()
        .map(
            FillShards(options.projection, digest, options.generation, options.export),
            output_type=Types.INT(),
        )
    )
    filled.name("fill").print().name("filled")
    environment.execute(rebuild_name(settings, options.projection, options.generation))


if __name__ == "__main__":
    main()
