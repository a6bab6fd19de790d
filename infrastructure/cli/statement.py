"""``statement``: shows what a rider is paid for a week, verifies it against the log, and closes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from infrastructure.cli.confirmation import DryRunOption, YesOption, confirm, will_ask
from infrastructure.cli.options import DataDirOption, JsonOption
from infrastructure.cli.output import echo, echo_json
from infrastructure.errors import UserError

if TYPE_CHECKING:
    from infrastructure.backends import Backends
    from infrastructure.operations.statements import VerifiedStatement

SHOWN_DIFFERENCES = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(statement)


def statement(
    rider: Annotated[str, typer.Argument(help="The rider's id.")],
    period: Annotated[str, typer.Option(help="An ISO week in UTC, for example 2026-W48.")],
    currency: Annotated[str | None, typer.Option(help="Only this currency (ISO 4217), for example EUR.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compute it again from the log, and compare every entry.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as an HTML page, ready to print or save as PDF.")
    ] = None,
    close: Annotated[
        bool, typer.Option("--close", help="Close the period of --currency: later entries go to the next open week.")
    ] = False,
    by: Annotated[str | None, typer.Option(help="With --close: who closes it.")] = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a rider's statement: every payout and adjustment, each item with the events that it comes from.

    For example, is each cent what the log says?

      statement anna --period 2026-W48 --verify

    --close shows the amount first, and asks: a closed week stays closed. Works with or without a running `serve`. Exits
    with 1 if --verify finds a difference.
    """
    import msgspec

    from domain.errors import InvalidCurrency, InvalidPeriod
    from infrastructure.cli import statement_output as show
    from infrastructure.operations import statements
    from read_models.payouts.statement import statement as document_of

    if close and (currency is None or by is None or verify):
        raise typer.BadParameter("--close needs --currency and --by, and excludes --verify")
    if not close and (by is not None or yes or dry_run):
        raise typer.BadParameter("--by, --yes and --dry-run are of --close: give --close too")
    try:
        _check(period, currency)
    except (InvalidPeriod, InvalidCurrency) as error:
        raise typer.BadParameter(str(error)) from error
    with _opened(data_dir) as backends:
        if close and currency is not None and by is not None:
            _close(backends, _Closing(rider, period, currency, by, yes, dry_run, as_json))
            return
        read = statements.read_statement(backends, rider, period)
        found = statements.verify_statement(backends, rider, period, read, currency) if verify else None
    document = document_of(rider, period, read, currency)
    if html is not None:
        _write(html, show.page(document))
        echo(f"wrote {html}", err=True)
    if as_json:
        verified = {} if found is None else {"differences": found.differences, "events_folded": found.events}
        echo(msgspec.json.encode(document | verified))
    elif html is None:
        show.printed(document)
    if found is not None:
        _report(rider, period, document, found, quiet=as_json)


class _Closing(NamedTuple):
    """A closing as it was asked for."""

    rider: str
    period: str
    currency: str
    by: str
    yes: bool
    dry_run: bool
    as_json: bool


def _close(backends: Backends, closing: _Closing) -> None:
    """Show the amount, ask, and close. Raises UserError if the answer is not yes, or the closing is refused."""
    from infrastructure.operations import statements
    from read_models.payouts.statement import statement as document_of

    rider, period, currency, by, yes, dry_run, as_json = closing
    document = document_of(rider, period, statements.read_statement(backends, rider, period), currency)
    (of,) = document["currencies"]
    counts = f"{of['payouts']:,} payouts and {of['adjustments']:,} adjustments"
    if not as_json or (not dry_run and will_ask(yes=yes)):
        echo(
            f"close {period} of {rider} in {currency}: {of['total']} {currency} in {counts}, as folded up to position "
            f"{document['position']:,}; every earlier week closes too",
            err=as_json,
        )
    position: int | None = None
    if not dry_run:
        confirm(f"close {period} of {rider} in {currency}?", yes=yes)
        position = statements.close_statement(backends, rider, period, currency, by)
    if as_json:
        shown = {name: of[name] for name in ("total_minor", "total", "payouts", "adjustments")}
        named = {"rider_id": rider, "period": period, "currency": currency, "dry_run": dry_run}
        echo_json({**named, **shown, "closed_at_position": position})
    elif position is not None:
        echo(
            f"closed {period} of {rider} in {currency}, at position {position:,} of the log; the statement is "
            "complete when payouts have folded up to there"
        )


def _report(rider: str, period: str, document: dict[str, object], found: VerifiedStatement, *, quiet: bool) -> None:
    """One line if all is well. Raises UserError with one line if not."""
    if found.differences:
        if not quiet:
            for line in found.differences[:SHOWN_DIFFERENCES]:
                echo(line)
        raise UserError(
            f"{len(found.differences):,} entries of {period} of {rider} differ from the log: the read model of "
            "generation "
            f"{document['generation']} is wrong; run `rebuild-projection payouts`"
        )
    if quiet:
        return
    parked = "" if found.parked is None else f"; the rider is parked at position {found.parked.position:,}"
    echo(f"verified: every entry equals the one computed from {found.events:,} events of the log{parked}")


def _check(period: str, currency: str | None) -> None:
    from domain.deliveries.values import check_currency
    from domain.riders.periods import check_period

    check_period(period)
    # Empty is the currency of legs whose start is unknown.
    if currency:
        check_currency(currency)


def _write(file: Path, text: str) -> None:
    from infrastructure.replay.whole_files import write_export

    try:
        write_export(file, text.encode())
    except OSError as error:
        raise UserError(f"cannot write {file}: {error}") from error


@contextmanager
def _opened(data_dir: Path | None) -> Iterator[Backends]:
    from infrastructure.backends import EVENT_STORE_SETTINGS, open_backends
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.embedded.stack import servers_for
    from infrastructure.settings.settings import Settings

    with (
        expected_as_user_error(),
        servers_for(Settings.load({"data_dir": data_dir}), EVENT_STORE_SETTINGS) as settings,
        open_backends(settings) as backends,
    ):
        yield backends
