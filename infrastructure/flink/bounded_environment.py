"""The environment in which the programs of bounded jobs build their graphs. Imports pyflink."""

from __future__ import annotations

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment

from infrastructure.flink.job_options import BOUNDED_OPTIONS


def bounded_environment() -> StreamExecutionEnvironment:
    """The environment that Flink's client has prepared, with the options of a job that ends by itself."""
    configuration = Configuration()
    for name, value in BOUNDED_OPTIONS.items():
        configuration.set_string(name, value)
    return StreamExecutionEnvironment.get_execution_environment(configuration)
