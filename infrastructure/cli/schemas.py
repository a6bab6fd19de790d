"""``schemas check`` and ``schemas register``: compares the event contracts with the registry and registers them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from infrastructure.cli.options import DataDirOption, JsonOption
from infrastructure.cli.output import cell, echo, echo_json

if TYPE_CHECKING:
    from infrastructure.schema_registry.client import SchemaRegistry
    from infrastructure.schema_registry.release_check import ContractFinding
    from infrastructure.settings.settings import Settings

ADVICE = (
    "a released contract never changes: restore its file in domain/events and release the change as the next version, "
    "with a default for each new field; docs/schemas.md says what may change"
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True)
    group.command("check")(check)
    group.command("register")(register_)
    app.add_typer(group, name="schemas", help="Check and register the event contracts.")


def check(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Compare each released contract with the previous version, and with a registry if there is one.

    The registry is the external one (RIDELOG_SCHEMA_REGISTRY_URL), else that of a running serve. Without either, only
    the files in domain/events are compared. On an incompatible change it exits with 1 and says what to do.
    """
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.schema_registry.release_check import check_registry, check_releases
    from infrastructure.settings.settings import Settings

    with expected_as_user_error():
        findings = list(check_releases())
    with _registry(Settings.load({"data_dir": data_dir}), start=False) as registry:
        if registry is not None:
            findings += check_registry(registry)
    broken = any(finding.problems for finding in findings)
    if as_json:
        report = {
            "compatible": not broken,
            "registry": registry is not None,
            "findings": [finding._asdict() for finding in findings],
            "advice": ADVICE if broken else None,
        }
        echo_json(report)
    else:
        _show(findings)
        if registry is None:
            echo("no registry is running or configured: only the files in domain/events were compared")
        if broken:
            echo(f"incompatible: {ADVICE}", err=True)
    raise typer.Exit(1 if broken else 0)


def register_(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Register every released contract in the configured registry; a contract that is already there keeps its id.

    serve does the same at every start. Use this command to fill an external registry beforehand, or with other
    credentials.
    """
    from infrastructure.schema_registry.client import register_each
    from infrastructure.settings.settings import Settings

    with _registry(Settings.load({"data_dir": data_dir}), start=True) as registry:
        assert registry is not None
        ids = list(register_each(registry))
    if as_json:
        rows = [{"subject": c.subject, "version": c.version, "id": number} for c, number in ids]
        echo_json(rows)
        return
    for contract, number in ids:
        echo(f"{number:>6}  {contract.subject}  version {contract.version}")


@contextmanager
def _registry(settings: Settings, *, start: bool) -> Iterator[SchemaRegistry | None]:
    """Open the registry; None if none is running and none may be started. Raises UserError."""
    from infrastructure.backends import EVENT_STORE_SETTINGS, Backends, refuse_other_revision
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.embedded.stack import attach, servers_for
    from infrastructure.postgres.errors import unavailable_as_port_error
    from infrastructure.schema_registry.external import ExternalRegistry

    with expected_as_user_error():
        if settings.schema_registry_url is not None:
            external = ExternalRegistry(settings.schema_registry_url)
            yield external
            external.close()
            return
        if not start and settings.postgres_url is None and attach(settings) is None:
            yield None
            return
        with (
            servers_for(settings, EVENT_STORE_SETTINGS) as served,
            unavailable_as_port_error(),
            Backends(served) as backends,
        ):
            refuse_other_revision(backends.postgres_url)
            yield backends.registry


def _show(findings: list[ContractFinding]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("contract", "compared with", "", "why", box=None, pad_edge=False)
    for finding in findings:
        table.add_row(*map(cell, (finding.contract, finding.against, finding.says, "; ".join(finding.problems))))
    # Off a terminal long lines do no harm, but wrapped cells break programs that read the output.
    Console(soft_wrap=True, width=None if sys.stdout.isatty() else 200).print(table)
