"""``payments``: lists, retries, skips and settles payments that wait for a person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from infrastructure.cli.confirmation import DryRunOption, YesOption, confirm, will_ask
from infrastructure.cli.options import DataDirOption, JsonOption
from infrastructure.cli.output import echo, echo_json, echo_lines
from infrastructure.cli.parked import login_name
from infrastructure.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from infrastructure.backends import Backends
    from infrastructure.postgres.payment_decisions import PaymentDecision

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

    from infrastructure.postgres.payment_handovers import PaymentHandovers

    with _opened(data_dir) as backends:
        found = PaymentHandovers(backends.engine).listed(MAX_LISTED + 1)
    if len(found) > MAX_LISTED:
        del found[MAX_LISTED:]
        echo(f"more than {MAX_LISTED:,} payments wait: these are the first ones, by rider", err=True)
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
    echo(f"{len(found):,} payments wait for a person" + ("; see `payments --help`" if found else ""))


@commands.command()
def retry(
    entries: Annotated[list[str] | None, typer.Argument(metavar="[ENTRY]...", help="Unless --all is given.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every held payment.")] = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hand held payments over again, with the same keys, as soon as payments runs.

    Shows the payments and their sums first, and asks. Exits with 1 if one of the entries is not held.
    """
    from infrastructure.postgres.payment_decisions import PaymentDecision

    if bool(entries) == every:
        raise typer.BadParameter("name entries, or give --all")
    request = _Request(PaymentDecision.RETRY, None if every else entries, "", yes, dry_run, as_json)
    _decide(data_dir, request)


@commands.command()
def skip(
    entries: EntriesArgument,
    why: WhyOption,
    who: WhoOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Never hand over these held payments; the later ones of their riders go on. It cannot be undone.

    For example, one that was paid another way, or that no event gives a reason for any more. Shows the payments and
    their sums first, and asks.
    """
    from infrastructure.postgres.payment_decisions import PaymentDecision

    reason = _reason(f"skipped by {who or login_name()}", why)
    _decide(data_dir, _Request(PaymentDecision.SKIP, entries, reason, yes, dry_run, as_json))


@commands.command()
def settle(
    entries: EntriesArgument,
    why: WhyOption,
    who: WhoOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record that the difference between what was handed over and what payouts say now was settled another way.

    Shows the differences and their sums first, and asks. Nothing is handed over. A later change of the amount is listed
    again.
    """
    from infrastructure.postgres.payment_decisions import PaymentDecision

    reason = _reason(f"settled by {who or login_name()}", why)
    _decide(data_dir, _Request(PaymentDecision.SETTLE, entries, reason, yes, dry_run, as_json))


class _Request(NamedTuple):
    """A decision as it was asked for. ``entries``: None stands for all that wait for it."""

    decision: PaymentDecision
    entries: list[str] | None
    reason: str
    yes: bool
    dry_run: bool
    as_json: bool


def _reason(decided: str, why: str) -> str:
    if not why.strip():
        raise typer.BadParameter("--why must not be empty")
    return f"{decided}: {why}"


def _decide(data_dir: Path | None, request: _Request) -> None:
    """Show what the decision is about, ask, take it, and say on which entries it was taken."""
    from infrastructure.cli.payment_output import VERBS, document_of, shown
    from infrastructure.postgres.payment_decisions import PaymentDecisions

    verbs = VERBS[request.decision]
    with _opened(data_dir) as backends:
        decisions = PaymentDecisions(backends.engine)
        found = decisions.find(request.decision, request.entries)
        asks = not request.dry_run and will_ask(yes=request.yes)
        if asks or not request.as_json:
            echo_lines(shown(request.decision, found), err=request.as_json)
        done: list[str] = []
        if found and not request.dry_run:
            confirm(f"{verbs.command} {len(found):,} payments?", yes=request.yes)
            done = decisions.decide(request.decision, found, request.reason)
    ids = [one.entry_id for one in found]
    missing = sorted(set(request.entries or []) - set(ids))
    changed = [] if request.dry_run else sorted(set(ids) - set(done))
    if request.as_json:
        echo_json(document_of(request.decision, found, done, missing, dry_run=request.dry_run))
    else:
        echo_lines(f"{entry_id}: {verbs.done}" for entry_id in done)
    faults = [f"not {verbs.expected}: {', '.join(missing)}"] if missing else []
    if changed:
        faults.append(f"not {verbs.done}, since they have changed meanwhile: {', '.join(changed)}")
    if faults:
        raise UserError(f"{'; '.join(faults)}; see `payments list`")


@contextmanager
def _opened(data_dir: Path | None) -> Iterator[Backends]:
    from infrastructure.backends import EVENT_STORE_SETTINGS, open_backends
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.embedded.stack import servers_for
    from infrastructure.settings.settings import Settings

    with (
        expected_as_user_error(),
        servers_for(Settings.load({"data_dir": data_dir}), EVENT_STORE_SETTINGS) as settings,
        open_backends(settings, EVENT_STORE_SETTINGS) as backends,
    ):
        yield backends
