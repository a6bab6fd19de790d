"""The process of one task on a projection: ``serve`` starts it for a request that the API has recorded.

A fill holds a core for minutes and may be killed at any time, so it runs in no process that answers requests.
"""

from __future__ import annotations

import logging
import os
from typing import Final

from infrastructure.observability.stage_reports import instance_of
from infrastructure.operations.projection_task import run_task
from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.projection_tasks import ProjectionTasks
from infrastructure.process_pool import tune_gc
from infrastructure.settings.settings import Settings
from projections.core.retry import RetryPolicy

log = logging.getLogger("ridelog.projection_task")

TASK_NICENESS: Final = 5
"""Where cores are short, a task gets a third of the share of the processes that answer."""


def main(settings: Settings, number: int) -> None:
    """Run task ``number`` with lower priority: serving comes first. Returns at once if it is not open."""
    os.nice(TASK_NICENESS)
    tune_gc()
    # Fence conflicts with the worker of `serve` are expected, dozens in a rebuild.
    logging.getLogger("ridelog.projections").setLevel(logging.ERROR)
    assert settings.postgres_url is not None
    engine = reader_engine(settings.postgres_url)
    try:
        tasks, instance = ProjectionTasks(engine), instance_of(os.getpid())
        task = RetryPolicy(log.warning).call(lambda: tasks.take(number, instance))
        if task is not None:
            run_task(settings, tasks, task, instance)
    finally:
        engine.dispose()
