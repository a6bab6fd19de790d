"""``payments``: lists, retries, skips and settles payments that wait for a person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from infrastructure.cli.options import DataDirOption, JsonOption
from infrastructure.cli.output import echo
from infrastructure.cli.parked import login_name
from infrastructure.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from infrastructure.postgres.payment_handovers import PaymentHandovers

MAX_LISTED = 10_000
commands = typer.Typer(
    help="Payments that wait for a person: refused, withdrawn, or handed over with another amount.",
    no_args_is_help=True,
)
EntriesArgument = Annotated[list[str], typer.Argument(metavar="ENTRY...", help="Ids of entries, from `payments list`.")]
WhyOption = Annotated[str, typer.Option(help="The reason, for the record.")]
WhoOption = Annotated[str | None, typer.Option(help="Who decided it.  \\[default: your login name]")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="payments")


@commands.command("list")
def list_(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """List the payments that wait for a person, with the reason. Exits with 0 even if there are some."""
    import msgspec

    with _opened(data_dir) as handovers:
        found = handovers.listed(MAX_LISTED)
    if as_json:
        echo(msgspec.json.encode(found))
        return
    for one in found:
        amount = f"{one['amount_minor']:,} minor units of {one['currency']}"
        if one["latest_amount_minor"] != one["amount_minor"]:
            amount += f" handed over, {one['latest_amount_minor']:,} by payouts now"
        why = f": {one['reason']}" if one["reason"] else ""
        leg = f"rider {one['rider_id']}, order {one['order_id']} {one['leg']}"
        state = f"{one['state']} after {one['attempts']} attempts"
        echo(f"{one['entry_id']}  {one['kind']} of {leg}, {amount}, {state}{why}")
    echo(f"{len(found)} payments wait for a person" + ("; see `payments --help`" if found else ""))


@commands.command()
def retry(
    entries: Annotated[list[str] | None, typer.Argument(metavar="[ENTRY]...", help="Unless --all is given.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every held payment.")] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Hand held payments over again, with the same keys, as soon as payments runs.

    Exits with 1 if one of the entries is not held.
    """
    if bool(entries) == every:
        raise typer.BadParameter("name entries, or give --all")
    with _opened(data_dir) as handovers:
        released = handovers.release(None if every else entries)
    _print_outcome(entries or [], released, "handed over again", "held")


@commands.command()
def skip(entries: EntriesArgument, why: WhyOption, who: WhoOption = None, data_dir: DataDirOption = None) -> None:
    """Never hand over these held payments; the later ones of their riders go on. It cannot be undone.

    For example, one that was paid another way, or that no event gives a reason for any more.
    """
    reason = _reason(f"skipped by {who or login_name()}", why)
    with _opened(data_dir) as handovers:
        skipped = handovers.skip(entries, reason)
    _print_outcome(entries, skipped, "skipped", "held")


@commands.command()
def settle(entries: EntriesArgument, why: WhyOption, who: WhoOption = None, data_dir: DataDirOption = None) -> None:
    """Record that the difference between what was handed over and what payouts say now was settled another way.

    Nothing is handed over. A later change of the amount is listed again.
    """
    reason = _reason(f"settled by {who or login_name()}", why)
    with _opened(data_dir) as handovers:
        settled = handovers.settle(entries, reason)
    _print_outcome(entries, settled, "settled", "different")


def _reason(decided: str, why: str) -> str:
    if not why.strip():
        raise typer.BadParameter("--why must not be empty")
    return f"{decided}: {why}"


def _print_outcome(entries: list[str], done: list[str], verb: str, expected: str) -> None:
    for entry_id in done:
        echo(f"{entry_id}: {verb}")
    missing = sorted(set(entries) - set(done))
    if missing:
        raise UserError(f"not {expected}: {', '.join(missing)}; see `payments list`")
    if not done:
        echo(f"no payment is {expected}")


@contextmanager
def _opened(data_dir: Path | None) -> Iterator[PaymentHandovers]:
    from infrastructure.backends import EVENT_STORE_SETTINGS, open_backends
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.embedded.stack import servers_for
    from infrastructure.postgres.payment_handovers import PaymentHandovers
    from infrastructure.settings.settings import Settings

    with (
        expected_as_user_error(),
        servers_for(Settings.load({"data_dir": data_dir}), EVENT_STORE_SETTINGS) as settings,
        open_backends(settings, EVENT_STORE_SETTINGS) as backends,
    ):
        yield PaymentHandovers(backends.engine)
