"""``flink``: submits, shows, cancels and saves the jobs of projections on a Flink cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infrastructure.cli.engines import ClusterOption, cluster_of_settings, flink_client
from infrastructure.cli.options import DataDirOption, JsonOption
from infrastructure.cli.output import echo
from infrastructure.errors import UserError

if TYPE_CHECKING:
    from infrastructure.observability.flink_cluster import FlinkCluster
    from infrastructure.settings.settings import Settings

commands = typer.Typer(
    help="Projections on an Apache Flink cluster, instead of in `serve`.",
    no_args_is_help=True,
)
NamesArgument = Annotated[list[str], typer.Argument(metavar="PROJECTION...", help="Names of projections.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="flink")


@commands.command()
def submit(
    projections: NamesArgument,
    parallelism: Annotated[
        int, typer.Option(min=1, max=64, help="Subtasks of a job; more than the topic has partitions are idle.")
    ] = 2,
    restore: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A savepoint or checkpoint to continue from, instead of the fences alone."),
    ] = None,
    cluster: ClusterOption = None,
    environment: Annotated[
        Path | None, typer.Option(help="The Python environment with Flink.  \\[default: .flink-venv]")
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Start the job of each projection. It continues where the stores' fences are, whatever wrote them.

    Refused while a job of the projection runs or restarts. If `serve` follows it too, no event is lost or counted
    twice, but both fold it: leave it out of RIDELOG_PROJECTIONS.
    """
    from infrastructure.backends import projection_named
    from infrastructure.embedded.stack import servers_for
    from infrastructure.flink.client import Submission

    projections = list(dict.fromkeys(projections))  # named twice, a projection would have two jobs
    for name in projections:
        projection_named(name)
    with servers_for(_settings(data_dir, cluster), ("postgres_url", "redis_url", "kafka_bootstrap")) as settings:
        found = {job.projection: job for job in cluster_of_settings(settings).states()}
        for name in projections:
            if (job := found.get(name)) is not None and job.goes_on:
                state = "runs" if job.runs else f"is {job.state}"
                raise UserError(f"the job {job.job_id} of {name} {state} already: `flink cancel {name}` ends it")
        client = flink_client(settings, environment)
        # One program for all: to start Flink's client costs more than a job.
        submission = Submission(projections[0], parallelism, restore, arguments=tuple(projections))
        job_ids = client.submit_all(submission, settings.environment(), len(projections))
        for name, job_id in zip(projections, job_ids, strict=True):
            echo(f"{name}: submitted as {job_id}")
            if settings.projections is None or name in settings.projections.split(","):
                echo(f"  `serve` may follow {name} too: leave it out of RIDELOG_PROJECTIONS")


@commands.command()
def status(cluster: ClusterOption = None, data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Show the newest job of each projection. Exits with 1 if one that was not cancelled does not run.

    Where each projection is in the log, `python app.py status` shows.
    """
    import msgspec

    found = cluster_of_settings(_settings(data_dir, cluster))
    jobs, fills, parts = found.jobs(), found.fills(), found.part_jobs()
    if as_json:
        echo(msgspec.json.encode(jobs))
    else:
        for job in jobs:
            age = "no checkpoint" if job.checkpoint_age_s is None else f"checkpoint {job.checkpoint_age_s:.0f} s ago"
            place = f", {job.checkpoint}" if job.checkpoint else ""
            echo(f"{job.projection}: {job.state}, {job.restarts} restarts, {age}{place}, job {job.job_id}")
            if job.reason:
                echo(f"  {job.reason}")
        if not jobs:
            echo("no job of a projection was submitted to this cluster")
        for fill in fills:
            echo(
                f"rebuild of {fill.generation}: {fill.state}, job {fill.job_id}. If its command was killed, "
                f"`rebuild-projection {fill.generation.partition('@')[0]} --engine flink` cancels it and goes on"
            )
        for one in parts:
            echo(
                f"parts in {one.folder}: {one.state}, job {one.job_id}. If its command was killed, the same command "
                "cancels it and goes on"
            )
    raise typer.Exit(1 if any(not job.runs and job.state != "CANCELED" for job in jobs) else 0)


@commands.command()
def cancel(projections: NamesArgument, cluster: ClusterOption = None, data_dir: DataDirOption = None) -> None:
    """End the job of each projection. Nothing is lost: the stores hold the states and fences.

    Set RIDELOG_PROJECTIONS so that `serve` follows them again, or submit them again.
    """
    found = cluster_of_settings(_settings(data_dir, cluster))
    for name in projections:
        found.cancel(_running(found, name))
        echo(f"{name}: cancelled")


@commands.command()
def savepoint(
    projections: NamesArgument,
    folder: Annotated[str | None, typer.Option(help="Where to store it.  \\[default: the cluster's]")] = None,
    cluster: ClusterOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Store the offsets of each job, for `submit --restore`. The states need none: they are in the stores."""
    found = cluster_of_settings(_settings(data_dir, cluster))
    for name in projections:
        echo(f"{name}: {found.savepoint(_running(found, name), folder)}")


def _running(cluster: FlinkCluster, name: str) -> str:
    from infrastructure.observability.flink_cluster import STATES_OF_A_RUNNING_JOB

    job = cluster.job(name)
    if job is None or job.state not in STATES_OF_A_RUNNING_JOB:
        raise UserError(f"no job of {name} runs on this cluster; see `flink status`")
    return job.job_id


def _settings(data_dir: Path | None, cluster: str | None) -> Settings:
    from infrastructure.settings.settings import Settings

    return Settings.load({"data_dir": data_dir, "flink_url": cluster})
