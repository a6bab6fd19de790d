"""Metrics of a relay, a batch and a failure. Values are compared as differences, because the registry is shared."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import pytest
from prometheus_client import REGISTRY

from infrastructure.cdc.in_flight import MAX_WAITING_RECORDS, InFlightTransactions
from infrastructure.http.application import count_unavailable
from infrastructure.http.errors import ApiError
from infrastructure.http.time_travel import answering
from infrastructure.kafka.consumer_decorators import TimedConsumer
from infrastructure.kafka.ports import ProducerRecord, PublishError
from infrastructure.observability import debezium_metrics as debezium
from infrastructure.processes.runtime import HEALTHY_AFTER_S, run_until_stopped, stack_summary
from infrastructure.sinks.decorators import TimedSink
from projections.core.ports import ApplyOutcome, ConsumerRecord, PortUnavailable, RecordConsumer, ShardWrite, Sink
from projections.core.retry import SERVICE_RETRY_DELAYS_S

RECORD = ProducerRecord("gps-pings", 0, b"anna", b"x", [])
NAME = {"context": "streaming", "plugin": "postgres", "name": "a_slot"}


def value(sample: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(sample, labels) or 0.0


class Broker:
    """A publisher that accepts ``room`` records, and acknowledges what is sealed while ``acknowledges`` is set."""

    def __init__(self, room: int = 10) -> None:
        self.room = room
        self.acknowledges = False
        self.sealed: list[int] = []

    def publish(self, token: int, records: Sequence[ProducerRecord]) -> int:
        accepted = min(self.room, len(records))
        self.room -= accepted
        return accepted

    def seal(self, token: int) -> None:
        self.sealed.append(token)

    def acknowledged(self, timeout_s: float) -> list[int]:
        if not self.acknowledges:
            return []
        found, self.sealed = self.sealed, []
        return found

    def in_flight(self) -> int:
        return 0

    def close(self, timeout_s: float = 5.0) -> int:
        return 0


def test_the_lag_of_a_relay_counts_from_the_commit_to_the_acknowledgement() -> None:
    broker = Broker()
    out = InFlightTransactions(broker, 0)
    out.open(commit_ms=1_000)
    out.add([RECORD], 1, 1)
    out.close()
    out.publish()
    out.collect()
    assert (out.progress.behind_ms, out.progress.event_ms) == (-1, -1)
    broker.acknowledges = True
    out.collect()
    assert out.progress.event_ms > 1_000
    assert out.progress.behind_ms == out.progress.event_ms - 1_000


def test_a_heartbeat_is_no_event() -> None:
    broker = Broker()
    broker.acknowledges = True
    out = InFlightTransactions(broker, 0)
    out.open(commit_ms=1_000)
    out.close()
    out.publish()
    out.collect()
    assert out.progress.behind_ms > 0
    assert out.progress.event_ms == -1


def test_the_remaining_capacity_of_a_relay_is_what_may_still_wait_for_the_client() -> None:
    out = InFlightTransactions(Broker(room=1), 0)
    out.open(commit_ms=1_000)
    out.add([RECORD] * 4, 4, 4)
    assert out.free_capacity() == MAX_WAITING_RECORDS - 4
    out.publish()
    assert out.free_capacity() == MAX_WAITING_RECORDS - 3


def test_a_relay_that_waits_for_another_one_exports_no_value_that_could_fire_an_alert() -> None:
    debezium.show("a_slot", debezium.DebeziumSample(5, 6, 7, 1, 3, 100, 90))
    assert value("debezium_metrics_Connected", **NAME) == 1
    assert value("debezium_metrics_MilliSecondsBehindSource", **NAME) == 5
    assert value("debezium_metrics_TotalNumberOfCreateEventsSeen", **NAME) == 7
    assert value("debezium_metrics_QueueRemainingCapacity", **NAME) == 90
    debezium.lost("a_slot")
    assert value("debezium_metrics_Connected", **NAME) == 0
    debezium.waiting("a_slot")
    assert math.isnan(value("debezium_metrics_Connected", **NAME))
    assert math.isnan(value("debezium_metrics_MilliSecondsBehindSource", **NAME))


def test_failures_are_counted_by_the_kinds_that_are_known_in_advance() -> None:
    class Worse(PublishError):
        """A kind without a label of its own."""

    stop = threading.Event()
    tried: list[int] = []

    def attempt() -> None:
        tried.append(1)
        if len(tried) > 2:
            stop.set()
            return
        raise Worse("unavailable") if len(tried) == 1 else PublishError("unavailable")

    run_until_stopped(attempt, stop, (PublishError, PortUnavailable), lambda reason: None, "a stage")
    assert value("ridelog_stage_failures_total", stage="a stage", error="PublishError") == 2
    # Exported from the start: otherwise Prometheus would not see its first increase.
    assert (
        REGISTRY.get_sample_value("ridelog_stage_failures_total", {"stage": "a stage", "error": "PortUnavailable"}) == 0
    )
    assert REGISTRY.get_sample_value("ridelog_stage_failures_total", {"stage": "a stage", "error": "Worse"}) is None


def test_regression_failures_before_a_healthy_attempt_do_not_lengthen_the_next_delay() -> None:
    class Stop(threading.Event):
        pauses: ClassVar[list[float]] = []

        def wait(self, timeout: float | None = None) -> bool:
            self.pauses.append(timeout or 0.0)
            return self.is_set()

    stop, now = Stop(), [0.0]
    lasting = iter([0.0, 1.0, 1.0, HEALTHY_AFTER_S, 0.0])

    def attempt() -> None:
        lasted = next(lasting, None)
        if lasted is None:
            stop.set()
            return
        now[0] += lasted
        raise PublishError("unavailable")

    run_until_stopped(attempt, stop, (PublishError,), lambda reason: None, "another stage", lambda: now[0])
    assert stop.pauses == [*SERVICE_RETRY_DELAYS_S[:3], *SERVICE_RETRY_DELAYS_S[:2]]


def test_the_stack_of_a_hung_thread_is_summarised() -> None:
    started, end = threading.Event(), threading.Event()

    def waits_for_ever() -> None:
        started.set()
        end.wait()

    thread = threading.Thread(target=waits_for_ever)
    thread.start()
    try:
        assert started.wait(10)
        assert "waits_for_ever (test_stage_metrics.py:" in stack_summary(thread)
    finally:
        end.set()
        thread.join()
    assert stack_summary(thread) == "its end"


class Batches:
    def __init__(self, *batches: list[ConsumerRecord]) -> None:
        self._batches = list(batches)

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
        return self._batches.pop(0)


def test_a_batch_is_timed_once_and_an_empty_poll_not_at_all() -> None:
    sizes: list[float] = []
    seconds: list[float] = []
    record = ConsumerRecord("gps-pings", 0, 0, b"anna", b"x", [])
    topic = TimedConsumer(cast("RecordConsumer", Batches([record, record], [], [record])), sizes.append, seconds.append)
    topic.poll(10, 0)
    assert topic.applied() == (2, *seconds)
    assert topic.applied() == (0, 0.0)
    assert (sizes, len(seconds)) == ([2], 1)
    topic.poll(10, 0)
    assert topic.applied() == (0, 0.0)
    assert (sizes, len(seconds)) == ([2], 1)
    topic.poll(10, 0)
    topic.applied()
    assert (sizes, len(seconds)) == ([2, 1], 2)


class UnavailableSink:
    def apply(self, writes: Sequence[ShardWrite]) -> list[ApplyOutcome]:
        raise PortUnavailable("unavailable")

    def load(self, keys: Mapping[int, Sequence[str]]) -> dict[int, dict[str, bytes]]:
        return {1: {"anna": b"x"}}


def test_a_failed_write_is_timed_too_and_other_calls_are_forwarded() -> None:
    seconds: list[float] = []
    sink = TimedSink(cast("Sink", UnavailableSink()), seconds.append)
    with pytest.raises(PortUnavailable):
        sink.apply([])
    assert len(seconds) == 1
    assert sink.load({}) == {1: {"anna": b"x"}}


def test_pings_that_must_be_resent_are_counted_by_reason() -> None:
    before = value("ridelog_pings_refused_total", why="queue_full")
    count_unavailable("queue_full", 7)
    assert value("ridelog_pings_refused_total", why="queue_full") == before + 7


@pytest.mark.parametrize(
    ("error", "outcome"), [(None, "answered"), (PortUnavailable("Postgres is down"), "unavailable")]
)
def test_an_answer_about_the_past_is_timed_by_outcome(error: Exception | None, outcome: str) -> None:
    def count() -> float:
        return value("ridelog_replay_read_seconds_count", outcome=outcome)

    before: Any = count()
    if error is None:
        with answering():
            pass
    else:
        with pytest.raises(ApiError, match="Postgres is down"), answering():
            raise error
    assert count() == before + 1
