"""``verify-parity``: what was served, computed again from the event store."""

from __future__ import annotations

import logging
import os
import time
from typing import Annotated, Any

import typer

from infrastructure.cli.options import DataDirOption, JsonOption
from infrastructure.cli.output import echo
from infrastructure.errors import UserError
from projections.parity.audit import AuditFindings
from projections.parity.served_reads import ReadVerdict


def lines(name: str, found: AuditFindings, seconds: float) -> list[str]:
    """Totals by verdict, and examples of what differs."""
    if not found.reads:
        return [f"nothing to check: no served reads of {name} are on record (settings served_reads_share, --since)"]
    totals = ", ".join(f"{count:,} {verdict}" for verdict, count in found.totals.items() if count)
    rate = f"{found.events:,} events folded in {seconds:.1f} s, {found.reads / max(seconds, 1e-3):,.0f} reads a second"
    told = [f"{found.reads:,} served reads of {name}: {totals}; {rate}"]
    if found.wrong_snapshots:
        told.append(f"{found.wrong_snapshots:,} checkpoints that live folding had left were wrong, and were replaced")
    return told + found.examples


def advice(name: str, found: AuditFindings, generation: int | None, on_record: int) -> str:
    """One line that says what to do; "" if nothing is wrong. ``on_record``: mismatches of the active generation."""
    different = found.totals[ReadVerdict.DIFFERENT]
    what = f"{different:,} answers and {found.wrong_snapshots:,} checkpoints were not what the log says"
    if on_record:
        if not found.mismatches:
            what = f"{on_record:,} mismatches are on record"
        return f"{what}; generation {generation}, which is served, is wrong: run `rebuild-projection {name}`"
    if found.mismatches:
        old = ", ".join(map(str, sorted(found.generations)))
        return (
            f"{what}, all of generation {old}, which is not served any more: look only at what was served since, "
            "with --since, and do not roll back to it"
        )
    return ""


def document(name: str, found: AuditFindings, seconds: float, generation: int | None, on_record: int) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "projection": name,
        "reads": found.reads,
        "verdicts": {verdict.replace(" ", "_"): count for verdict, count in found.totals.items()},
        "wrong_checkpoints": found.wrong_snapshots,
        "events_folded": found.events,
        "seconds": round(seconds, 3),
        "reads_per_second": round(found.reads / max(seconds, 1e-3)),
        "generation": generation,
        "mismatches_on_record": on_record,
        "examples": found.examples,
    }


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify-parity")(verify_parity)


def verify_parity(
    name: Annotated[str, typer.Argument(metavar="[PROJECTION]", help="The projection.")] = "speed",
    since: Annotated[
        str | None,
        typer.Option(metavar="T", help="Only what was served since: epoch ms, RFC 3339, or so long ago, as 1h."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that fold, each with keys of its own.")] = min(
        4, os.cpu_count() or 1
    ),
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute served answers again from the event store, and compare them byte for byte.

    `serve` keeps a share of the answers that it gives (the setting served_reads_share). Each is folded again from the
    rider's first event, or from a checkpoint that was itself folded so; what is found is put on record.

    Works beside a running `serve` or without one. Exits with 1 if an answer, or a checkpoint on the way, was not what
    the log says.
    """
    import msgspec

    from infrastructure.backends import EVENT_STORE_SETTINGS, projection_named
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.cli.progress import Reporter
    from infrastructure.cli.verify_parity import advice, document, lines
    from infrastructure.embedded.stack import servers_for
    from infrastructure.operations.verify_parity import open_parity_evidence, verify
    from infrastructure.settings.settings import Settings
    from infrastructure.timestamps import time_or_ago_ms

    projection = projection_named(name)
    if projection.view is None:
        raise UserError(f"{name} serves rows and no view of a key: rebuild-projection {name} --verify-only compares it")
    try:
        since_ms = 0 if since is None else time_or_ago_ms(since, time.time_ns() // 1_000_000)
    except ValueError as error:
        raise UserError(
            f"--since {since!r}: {error}; give epoch milliseconds, RFC 3339 with zone, or a duration such as 1h"
        ) from error
    logging.getLogger("ridelog").setLevel(logging.ERROR)
    with (
        expected_as_user_error(),
        servers_for(Settings.load({"data_dir": data_dir}), EVENT_STORE_SETTINGS) as settings,
        open_parity_evidence(settings, projection) as here,
        Reporter(f"verify {name}", "reads", 1.0) as shown,
    ):
        count = here.reads.count(since_ms)
        began = time.monotonic()

        def show(done: int) -> None:
            shown.update(done / max(count, 1), done, f"{max(count - done, 0):,} to go")

        found = verify(settings, projection, here, since_ms, count, workers, show)
        seconds = time.monotonic() - began
        generation, on_record = here.reads.mismatches()
    if as_json:
        echo(msgspec.json.encode(document(name, found, seconds, generation, on_record)))
    else:
        for line in lines(name, found, seconds):
            echo(line)
    if words := advice(name, found, generation, on_record):
        raise UserError(words)
