"""The program that the Flink client runs: builds the job of one projection and submits it. Imports pyflink."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from pyflink.common import Types
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from infrastructure.backends import projection_named
from infrastructure.flink.batch_function import FoldBatches
from infrastructure.flink.job_options import JobOptions, job_name
from infrastructure.flink.partition_ends import PartitionEnds
from infrastructure.flink.partition_groups import group_expression
from infrastructure.flink.statements import (
    TopicSource,
    arrivals_view,
    batches_query,
    heartbeats_table,
    records_table,
)
from infrastructure.kafka.clients import bootstrap
from infrastructure.kafka.topics import topics
from infrastructure.settings.kafka_address import kafka_address
from infrastructure.settings.settings import Settings
from projections.digest.digest import fold_digest


def main() -> None:
    """Submit the job of each projection that the arguments name. To start this program costs more than a job."""
    parser = argparse.ArgumentParser()
    parser.add_argument("projections", nargs="+")
    settings = Settings.load()
    for name in parser.parse_args().projections:
        submit(settings, name)


def submit(settings: Settings, name: str, query: Callable[[int], str] = batches_query) -> None:
    """Build and submit the job of the projection ``name``.

    ``query`` returns the SQL of the rows that Python gets, from the time for which records are gathered, in ms. Raises
    UserError, ConsumerUnusable.
    """
    projection = projection_named(name)
    options = JobOptions.of(settings)
    topic = topics(settings)[projection.stream]
    ends = PartitionEnds(settings, topic)
    # Before this instant a partition's events are in the event store: what a shard lacks of them is filled from there.
    starts = ends(range(settings.topic_partitions))
    ends.close()
    source = TopicSource(
        kafka_address(bootstrap(settings)), topic, f"{settings.consumer_group_prefix}-{name}-flink", starts
    )
    environment = StreamExecutionEnvironment.get_execution_environment()
    tables = StreamTableEnvironment.create(environment)
    for key, value in options.flink().items():
        tables.get_config().set(key, value)
    group = group_expression(settings.topic_partitions, environment.get_parallelism())
    for statement in (records_table(source), heartbeats_table(settings.topic_partitions), arrivals_view(group)):
        tables.execute_sql(statement)
    batches = tables.to_data_stream(tables.sql_query(query(options.gather_ms)))
    folded = batches.flat_map(
        FoldBatches(name, fold_digest(projection), settings.topic_partitions), output_type=Types.INT()
    )
    folded.name("fold").print().name("nothing")
    environment.execute(job_name(settings, name))


if __name__ == "__main__":
    main()
