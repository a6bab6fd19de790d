"""``serve``: runs everything on this machine until Ctrl-C."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infrastructure.cli.options import DataDirOption
from infrastructure.cli.output import echo_lines

if TYPE_CHECKING:
    from infrastructure.embedded.data_dir import RunInfo
    from infrastructure.embedded.service import Service

PROGRAMS = ("api", "tailer", "projections", "city", "payments")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(serve)


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address that HTTP listens on; any other than loopback needs RIDELOG_TOKENS.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="HTTP port; 0 takes a free one.  \\[default: 8000]")] = None,
    data_dir: DataDirOption = None,
    only: Annotated[
        str | None,
        typer.Option(help="Run only these programs: a comma list of api, tailer, projections, city, payments."),
    ] = None,
    allow_open_broker: Annotated[
        bool,
        typer.Option(
            "--allow-open-broker",
            help="With HTTP off loopback: accept that every local user can reach the embedded Kafka broker.",
        ),
    ] = False,
) -> None:
    """Start ridelog and keep it running until Ctrl-C.

    Starts its own PostgreSQL, Valkey and Kafka-compatible broker, or uses yours:

    - RIDELOG_POSTGRES_URL, RIDELOG_REDIS_URL, RIDELOG_KAFKA_BOOTSTRAP name external servers.

    Then starts the API, the tailer (not with RIDELOG_RELAY=external), the projections, the city, which merges their
    sums into city snapshots, and, with RIDELOG_PAYMENTS_URL, payments, which hands payouts to a provider. With --only
    and without the API, the HTTP port serves /metrics and /health/ready of the programs that run. A program that ends
    is restarted. Logs are in <data-dir>/logs.
    """
    from infrastructure.cli.process import run_fork
    from infrastructure.embedded.fork_server import fork_server
    from infrastructure.kafka.topics import ensure_topics
    from infrastructure.observability.logging import configure
    from infrastructure.processes.preload import load_programs
    from infrastructure.processes.worker_groups import served_projections
    from infrastructure.settings.settings import Settings
    from infrastructure.supervision.serve import ServeParts
    from infrastructure.supervision.serve import serve as run
    from infrastructure.supervision.service_commands import PROGRAM_PREFIX, commands_for

    settings = Settings.load({"host": host, "port": port, "data_dir": data_dir})
    chosen = parse_only(only)
    served_projections(settings)  # a wrong name ends the start, before a server is started
    if settings.payments_url is None:
        chosen = without_payments(chosen, named=only is not None)
    if settings.relay == "external":
        chosen = without_tailer(chosen)
    configure(settings.log_level, settings.log_format, "serve")
    run(
        settings,
        ServeParts(
            lambda ready: commands_for(ready, chosen),
            ensure_topics,
            announce,
            lambda: fork_server(partial(load_programs, chosen), run_fork, PROGRAM_PREFIX),
        ),
        allow_open_broker=allow_open_broker,
    )


def parse_only(only: str | None) -> tuple[str, ...]:
    """The programs named in a list such as ``api,tailer``; all for None.

    Raises BadParameter (exit code 2) for an unknown name.
    """
    if only is None:
        return PROGRAMS
    chosen = tuple(part.strip() for part in only.split(",") if part.strip())
    unknown = sorted(set(chosen) - set(PROGRAMS))
    if unknown or not chosen:
        raise typer.BadParameter(f"{only}: name one or more of {', '.join(PROGRAMS)}, separated by commas")
    return chosen


def without_payments(chosen: tuple[str, ...], *, named: bool) -> tuple[str, ...]:
    """``chosen`` without payments, for settings without a provider.

    Raises BadParameter (exit code 2) if it was ``named``: the caller expects payments to be handed over.
    """
    if named and "payments" in chosen:
        raise typer.BadParameter(
            "payments: no payment provider is set, so nothing can be handed over: set RIDELOG_PAYMENTS_URL and "
            "RIDELOG_PAYMENTS_SECRET"
        )
    return tuple(name for name in chosen if name != "payments")


def without_tailer(chosen: tuple[str, ...]) -> tuple[str, ...]:
    """``chosen`` without the tailer, for an external relay: two relays would publish everything twice.

    Raises BadParameter (exit code 2) if nothing is left.
    """
    left = tuple(name for name in chosen if name != "tailer")
    if not left:
        raise typer.BadParameter(
            "RIDELOG_RELAY=external: another program is the relay and no tailer is started, so nothing is left to run"
        )
    return left


def announce(info: RunInfo, services: Sequence[Service], missing: str) -> None:
    """Print what runs and where, and which parts are ``missing``, if any."""
    from infrastructure.settings.addresses import shown
    from infrastructure.supervision.readiness import program_of

    running = {program_of(service.name) for service in services}
    logs: Path = services[0].log_path.parent
    lines = ["ridelog is ready; stop it with Ctrl-C"]
    if missing:
        lines = [f"ridelog runs and is not ready yet ({missing}); it keeps trying; stop it with Ctrl-C"]
    if "api" in running:
        lines.append(f"  http      {info.http_url}  (interface: {info.http_url}/schema)")
    else:
        lines.append(f"  http      {info.http_url}  (/metrics and /health/ready of the programs that run here)")
    for name, setting in (("postgres", "postgres_url"), ("redis", "redis_url"), ("kafka", "kafka_bootstrap")):
        url = shown(setting, getattr(info, setting))
        lines.append(f"  {name:<9} {url}  ({'embedded' if name in running else 'yours'})")
    lines.append(f"  programs  {', '.join(name for name in PROGRAMS if name in running)}")
    lines.append(f"  logs      {logs}")
    echo_lines(lines)
