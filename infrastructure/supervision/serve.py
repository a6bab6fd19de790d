"""Runs ``serve``: starts servers, database, topics and programs, watches them, and stops them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import msgspec

from infrastructure.embedded.data_dir import DataDir, RunInfo
from infrastructure.embedded.fork_server import ForkServer
from infrastructure.embedded.pid_file import PidFile
from infrastructure.embedded.process_identity import process_start_id
from infrastructure.embedded.server import free_port
from infrastructure.embedded.service import Program, Service, ServiceCommand, stop_all
from infrastructure.embedded.stack import Stack
from infrastructure.observability.metrics_directory import clear_metrics
from infrastructure.observability.stage_reports import instance_of
from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.postgres.projection_tasks import ProjectionTasks
from infrastructure.processes.worker_groups import served_projections
from infrastructure.settings.settings import Settings
from infrastructure.supervision.broker_memory_limit import BrokerMemoryLimit, count_records, count_transactions
from infrastructure.supervision.preflight import (
    check_open_broker,
    has_open_broker,
    log_external_servers,
    prepare_database,
    refuse_lone_replication_url,
    refuse_open_http,
    refuse_taken_port,
    refuse_unreachable_redis,
    warn_of_short_tokens,
)
from infrastructure.supervision.readiness import PROJECTIONS as PROJECTIONS_PROGRAM
from infrastructure.supervision.readiness import Readiness, missing_stages, program_of, wait_live
from infrastructure.supervision.service_commands import task_command
from infrastructure.supervision.signals import StopRequested, StopSignals
from infrastructure.supervision.supervisor import Supervisor
from infrastructure.supervision.task_starter import TaskStarter
from infrastructure.timestamps import now_ms
from projections.catalogue import PROJECTIONS


class ServeParts(NamedTuple):
    """What ``serve`` is given: the programs to run, how to create the topics, and who announces readiness.

    ``announce`` also receives what is missing: "" when everything is ready. ``forks`` is called before this process has
    threads; what it returns starts the programs, if it can.
    """

    commands: Callable[[Settings], Sequence[ServiceCommand]]
    ensure_topics: Callable[[Settings], None]
    announce: Callable[[RunInfo, Sequence[Service], str], None]
    forks: Callable[[], ForkServer | None] = lambda: None


def serve(settings: Settings, parts: ServeParts, *, allow_open_broker: bool = False) -> None:
    """Run until SIGINT or SIGTERM. Call in the main thread. Raises UserError if it cannot start."""
    refuse_open_http(settings)
    warn_of_short_tokens(settings)
    check_open_broker(settings, allowed=allow_open_broker)
    refuse_lone_replication_url(settings)
    with parts.forks() or nullcontext() as forks, StopSignals() as signals, DataDir(settings.data_dir) as data_dir:
        pids = PidFile(data_dir.path)
        pids.end_stale()
        stack = Stack(settings, data_dir.path)
        programs: list[Program] = []
        tasks: TaskStarter | None = None
        try:
            with signals.interrupting():
                ready = _prepare(settings, stack, pids, data_dir.path, parts)
                programs += [Program(one, data_dir.path, Path.cwd(), forks) for one in parts.commands(ready)]
                supervisor = _start(ready, stack, programs, pids, parts)
                check_broker = _broker_limit(ready, stack, supervisor)
                info = _run_info(ready, open_broker=has_open_broker(settings))
                data_dir.write_run_info(info)
                tasks = _task_starter(ready, programs, data_dir.path)
            services: list[Service] = [*stack.servers.values(), *programs]
            readiness = Readiness(
                functools.partial(
                    missing_stages,
                    info.http_url,
                    {program_of(program.name) for program in programs},
                    set(PROJECTIONS) - set(served_projections(ready)),
                ),
                functools.partial(parts.announce, info, services),
            )
            supervisor.run(signals, check_broker, readiness.check)
        except StopRequested:
            pass
        finally:
            # Programs first: a program whose server stops before it fails instead of ending.
            stop_repeated = _is_stop_repeated(signals)
            if tasks is not None:
                tasks.stop()
            stop_all(programs, stop_repeated)
            stack.stop(stop_repeated)
            pids.clear()


def _prepare(settings: Settings, stack: Stack, pids: PidFile, data_dir: Path, parts: ServeParts) -> Settings:
    port = settings.port or free_port()
    refuse_taken_port(settings.host, port)
    if settings.redis_url is not None:
        refuse_unreachable_redis(settings.redis_url)
    ready = stack.start(pids)
    metrics_dir = settings.metrics_dir or data_dir / "metrics"
    clear_metrics(metrics_dir)
    assert ready.postgres_url is not None
    prepare_database(ready.postgres_url, embedded="postgres_url" in stack.servers)
    ready = msgspec.structs.replace(ready, port=port, metrics_dir=metrics_dir, data_dir=data_dir)
    parts.ensure_topics(ready)
    # Not before all of them answered: a start that fails prints one line, its error.
    log_external_servers(settings)
    return ready


def _start(ready: Settings, stack: Stack, programs: Sequence[Program], pids: PidFile, parts: ServeParts) -> Supervisor:
    for program in programs:
        program.spawn()
    supervisor = Supervisor([*stack.servers.values(), *programs], pids, _repairs(ready, stack, parts))
    wait_live(ready, programs)
    return supervisor


def _task_starter(ready: Settings, programs: Sequence[Program], data_dir: Path) -> TaskStarter | None:
    """Starts requested tasks on projections. A node without projections leaves them to the nodes that have some."""
    if PROJECTIONS_PROGRAM not in {program_of(program.name) for program in programs}:
        return None
    assert ready.postgres_url is not None
    engine = reader_engine(ready.postgres_url, pool_size=1)

    def program(task: int) -> Program:
        return Program(task_command(ready, task), data_dir, Path.cwd())

    starter = TaskStarter(ProjectionTasks(engine), PostgresGenerations(engine), program, instance_of(os.getpid()))
    starter.start()
    return starter


def _repairs(ready: Settings, stack: Stack, parts: ServeParts) -> dict[str, Callable[[], None]]:
    if (kafka := stack.servers.get("kafka_bootstrap")) is None:
        return {}

    def recreate_topics() -> None:
        kafka.wait_ready(5.0)
        parts.ensure_topics(ready)

    return {kafka.name: recreate_topics}


def _broker_limit(ready: Settings, stack: Stack, supervisor: Supervisor) -> Callable[[], None]:
    if (kafka := stack.servers.get("kafka_bootstrap")) is None:
        return lambda: None
    assert ready.postgres_url is not None
    transactions = functools.partial(count_transactions, reader_engine(ready.postgres_url, pool_size=1))
    count = functools.partial(count_records, kafka.url, ready.topic_prefix)
    return BrokerMemoryLimit(supervisor, count, transactions, ready.embedded_kafka_max_records).check


def _run_info(ready: Settings, *, open_broker: bool) -> RunInfo:
    url = ready.local_url
    assert ready.postgres_url is not None
    assert ready.redis_url is not None
    assert ready.kafka_bootstrap is not None
    return RunInfo(
        pid=os.getpid(),
        start_id=process_start_id(os.getpid()) or "",
        started_at=now_ms(),
        http_url=url,
        postgres_url=ready.postgres_url,
        redis_url=ready.redis_url,
        kafka_bootstrap=ready.kafka_bootstrap,
        registry_url=ready.schema_registry_url or f"{url}/registry",
        open_broker=open_broker,
    )


def _is_stop_repeated(signals: StopSignals) -> Callable[[], bool]:
    before = signals.requests
    return lambda: signals.requests > before
