"""Options of commands whose work may run on a Flink cluster, and what runs it there."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infrastructure.errors import UserError

if TYPE_CHECKING:
    from infrastructure.flink.client import FlinkClient
    from infrastructure.flink.parts_on_flink import PartsOnFlink
    from infrastructure.observability.flink_cluster import FlinkCluster
    from infrastructure.settings.settings import Settings

APP_FOLDER = Path(__file__).resolve().parents[2]


class Engine(StrEnum):
    """What runs the folds of a command; the values are those of the option."""

    HERE = "here"
    FLINK = "flink"


ClusterOption = Annotated[
    str | None, typer.Option("--cluster", help="REST address of the cluster.  \\[default: RIDELOG_FLINK_URL]")
]
PartsEngineOption = Annotated[
    Engine,
    typer.Option(
        "--engine",
        help="What reads the events: processes here, or a Flink cluster with --workers subtasks. Its TaskManagers must "
        "reach the directory of --out by the same path, and may write there.",
    ),
]


def url_of_settings(settings: Settings) -> str:
    """Raises UserError if no cluster is named."""
    if settings.flink_url is None:
        raise UserError("no Flink cluster is named: set RIDELOG_FLINK_URL, or give --cluster http://host:8081")
    return settings.flink_url


def cluster_of_settings(settings: Settings) -> FlinkCluster:
    """Raises UserError if no cluster is named."""
    from infrastructure.observability.flink_cluster import FlinkCluster

    return FlinkCluster(url_of_settings(settings), settings.topic_prefix)


def flink_client(settings: Settings, environment: Path | None = None) -> FlinkClient:
    """The client of the cluster that the settings name, from ``environment``. Raises UserError if they name none."""
    from infrastructure.flink.client import FlinkClient
    from infrastructure.flink.environment import FOLDER, FlinkEnvironment

    return FlinkClient(FlinkEnvironment(environment or APP_FOLDER / FOLDER), url_of_settings(settings), APP_FOLDER)


def parts_elsewhere(
    engine: Engine, settings: Settings, parallelism: int, on_note: Callable[[str], None]
) -> PartsOnFlink | None:
    """What makes parts on a cluster; None if processes here do. Raises UserError if no cluster is named."""
    if engine is Engine.HERE:
        return None
    from infrastructure.flink.bounded_jobs import BoundedJobs
    from infrastructure.flink.parts_on_flink import PartsOnFlink

    cluster = cluster_of_settings(settings)
    jobs = BoundedJobs(flink_client(settings), cluster, settings.environment(), parallelism, on_note=on_note)
    return PartsOnFlink(jobs)
