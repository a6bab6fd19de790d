"""The program that the Flink client runs for parts of a file: one element of parts a subtask. Imports pyflink."""

from __future__ import annotations

import argparse
import json

from pyflink.common import Types

from infrastructure.flink.bounded_environment import bounded_environment
from infrastructure.flink.job_options import parts_name
from infrastructure.flink.parts_function import MAKERS, MakeParts
from infrastructure.settings.settings import Settings


def main() -> None:
    """Submit the job that makes the parts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=MAKERS)
    parser.add_argument("folder")
    parser.add_argument("step", type=int)
    parser.add_argument("shares", help="the numbers of the parts of each subtask, as JSON")
    options = parser.parse_args()
    environment = bounded_environment()
    elements = [json.dumps(share) for share in json.loads(options.shares)]
    made = (
        environment.from_collection(elements, type_info=Types.STRING())
        .rebalance()
        .map(MakeParts(options.kind, options.folder, options.step), output_type=Types.INT())
    )
    made.name("make").print().name("made")
    environment.execute(parts_name(Settings.load(), options.folder))


if __name__ == "__main__":
    main()
