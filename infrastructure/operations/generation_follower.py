"""Connects one generation to its servers: the part of a live worker that is the same for every engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.backends import Backends
from infrastructure.observability import metrics
from infrastructure.postgres.restore_findings import RestoreFinding, record_finding
from infrastructure.redis.connection import check_never_evicts
from infrastructure.schema_registry.client import RegistryUnavailable
from infrastructure.sinks.compacted_topic_factory import CompactedTopicFactory
from infrastructure.sinks.decorators import TimedSink
from infrastructure.sinks.row_topic_factory import RowTopicFactory
from projections.core.fences import FenceMismatch
from projections.core.ports import FenceConflict, PortUnavailable, RecordConsumer, SinkRejected
from projections.core.projection import Projection
from projections.core.shard_processor import ProcessorLimits
from projections.core.shard_writer import BrokenFold
from projections.core.state_codec import BrokenState
from projections.live.stream_follower import StreamFollower

TRANSIENT_ERRORS: tuple[type[Exception], ...] = (
    PortUnavailable,
    SinkRejected,
    FenceConflict,
    RegistryUnavailable,
    SQLAlchemyError,
    BrokenFold,
    BrokenState,
)
"""Errors after which a worker connects again. A server that rejects data and a broken fold are retried and shown in
`status`: the other projections of the process must go on."""


def stage_name(projection: str, generation: int, *, is_active: bool) -> str:
    """Name of the stage in ``status``: the active generation has the projection's own name."""
    return projection if is_active else f"{projection}@{generation}"


@contextmanager
def follower_of(
    backends: Backends,
    projection: Projection[Any],
    generation: int,
    open_consumer: Callable[[], RecordConsumer],
    is_active: Callable[[], bool],
    max_records: int,
) -> Iterator[StreamFollower[Any]]:
    """Yield a follower of the generation. ``open_consumer`` is called once its store is known to be suitable.

    ``max_records``: most records of one batch. Raises TRANSIENT_ERRORS, EvictingRedis.
    """
    redis = backends.cache
    if projection.store == "redis":
        check_never_evicts(redis)
    consumer = open_consumer()
    codec = backends.make_codec()

    def on_fence_mismatch(found: FenceMismatch) -> None:
        codec.forget()
        _record_restore(backends.engine, f"{projection.name}@{generation}", found)

    own_sink = backends.stores.sink(projection, generation)
    of_states = CompactedTopicFactory(backends.settings, redis, backends.log, codec.encode)
    of_rows = RowTopicFactory(
        backends.settings, backends.sink_engine, backends.log, codec.encode, backends.uncertain_records
    )
    place = (projection, generation)
    with (
        of_states.publishing(*place, own_sink, is_active) as with_states,
        of_rows.publishing(*place, with_states, is_active) as sink,
    ):
        yield StreamFollower(
            projection,
            log_port=backends.log,
            consumer=consumer,
            sink=TimedSink(sink, metrics.SINK_SECONDS.labels(projection.name).observe),
            decode=codec.decode,
            partitions=backends.settings.topic_partitions,
            limits=ProcessorLimits(poll_records=max_records),
            on_fence_mismatch=on_fence_mismatch,
        )


def _record_restore(engine: Engine, found_by: str, found: FenceMismatch) -> None:
    """Record the finding before the shards are refolded: afterwards nothing would show that it happened."""
    message = (
        f"{found.shards} shards, up to position {found.beyond}, did not match this log, which ended at "
        f"{found.head} ({found.why.value}); they are refolded"
    )
    record_finding(engine, RestoreFinding(found_by, message, found.beyond, found.head))
