"""A process that waits, because another one does its work now, shows no value of when it did it itself."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest
from prometheus_client import REGISTRY, Gauge
from sqlalchemy import Engine

from infrastructure.cdc.replication_stream import ReplicationStream
from infrastructure.cdc.wal_relay import ensure_slot
from infrastructure.observability import metrics
from infrastructure.observability.stage_gauges import OF_A_STAGE, OF_PAYMENTS, OF_THE_TAILER
from infrastructure.observability.stage_reports import StageReporter, read_stages
from infrastructure.postgres.advisory_locks import try_session_lock
from infrastructure.processes import tailer
from infrastructure.processes.payments import PaymentsProcess
from infrastructure.processes.projection_worker import ProjectionWorker
from infrastructure.settings.settings import Settings
from projections.speed import SPEED
from tests.support.servers.fake_provider import SECRET
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually

NO_SERVER = "127.0.0.1:9"


@pytest.fixture
def settings(postgres_url: str) -> Settings:
    """A real database; neither Redis nor Kafka answers."""
    return Settings(postgres_url=postgres_url, redis_url=f"redis://{NO_SERVER}", kafka_bootstrap=NO_SERVER)


@contextmanager
def running(run: Callable[[], None], stop: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(scaled_s(30))
        assert not thread.is_alive()


def of_stage(stage: str) -> list[float | None]:
    return [REGISTRY.get_sample_value(gauge._name, {"stage": stage}) for gauge in OF_A_STAGE]


def of_process(gauges: tuple[Gauge, ...]) -> list[float | None]:
    return [REGISTRY.get_sample_value(gauge._name) for gauge in gauges]


def are_no_values(found: list[float | None]) -> bool:
    return all(value is not None and math.isnan(value) for value in found)


def show_late(stage: str) -> None:
    for gauge in OF_A_STAGE:
        gauge.labels(stage).set(1)


def test_regression_a_tailer_that_lost_its_slot_is_not_late_for_ever(settings: Settings, engine: Engine) -> None:
    """Its last report was of a late tailer whose slot kept 2 GiB: both alerts paged until its node was restarted."""
    assert settings.postgres_url is not None
    ensure_slot(engine, settings)
    show_late("tailer")
    metrics.SLOT_RETAINED.set(2 << 30)
    metrics.SLOT_STATUS.labels("lost").set(1)
    stop = threading.Event()
    other = ReplicationStream(settings.postgres_url, settings.slot_name, settings.publication_name)
    try:
        with running(lambda: tailer.run(settings, engine, StageReporter(engine, "tailer"), stop), stop):
            eventually(lambda: any(one.stage == "tailer-standby" for one in read_stages(engine)), what="it waits")
            assert are_no_values(of_stage("tailer"))
            assert are_no_values(of_process(OF_THE_TAILER))
            lost = REGISTRY.get_sample_value("ridelog_slot_status", {"status": "lost"})
            assert are_no_values([lost])
    finally:
        other.close()


def test_regression_payments_that_another_process_hands_over_are_not_held_for_ever(
    settings: Settings, engine: Engine
) -> None:
    """A person had decided on them, which only the process that hands over sees."""
    for gauge in OF_PAYMENTS:
        gauge.set(7_200)
    stop = threading.Event()
    with_provider = msgspec.structs.replace(settings, payments_url=f"http://{NO_SERVER}/", payments_secret=SECRET)
    with engine.connect() as other:
        assert try_session_lock(other, "ridelog/payments")
        with running(PaymentsProcess(with_provider, stop).run, stop):
            eventually(lambda: are_no_values(of_process(OF_PAYMENTS)), what="it shows nothing while it waits")


def test_regression_a_generation_that_is_served_now_or_dropped_is_not_late_for_ever(
    settings: Settings, engine: Engine
) -> None:
    """It was late under the name that it had while it was filled, and no worker reports under that name any more."""
    stop, active = threading.Event(), threading.Event()
    worker = ProjectionWorker(settings, SPEED, 2, active.is_set, stop)

    def reports(name: str) -> bool:
        return any(one.stage == name for one in read_stages(engine))

    with running(worker.run, stop):
        eventually(lambda: reports("speed@2"), what="it reports that a server is unavailable")
        show_late("speed@2")
        active.set()
        eventually(lambda: reports("speed"), what="it reports as the served generation")
        assert are_no_values(of_stage("speed@2"))
        show_late("speed")
    assert are_no_values(of_stage("speed"))


def test_every_gauge_that_has_a_stage_is_forgotten() -> None:
    gauges = [gauge for gauge in vars(metrics).values() if isinstance(gauge, Gauge)]
    of_stages = {gauge for gauge in gauges if gauge._labelnames == ("stage",)}
    assert of_stages - {metrics.STAGE_CONNECTED} == set(OF_A_STAGE)
