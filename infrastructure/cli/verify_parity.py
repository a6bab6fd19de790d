"""``verify-parity``: recomputes served answers from the event store and compares them byte for byte."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infrastructure.cli.options import WORKERS, DataDirOption, JsonOption
from infrastructure.cli.output import echo
from infrastructure.errors import UserError

if TYPE_CHECKING:
    from projections.core.projection import Projection
    from projections.parity.audit import AuditFindings


def lines(name: str, found: AuditFindings, seconds: float) -> list[str]:
    """The totals by verdict, and examples of differences."""
    if not found.reads:
        return [f"nothing to check: no served reads of {name} are recorded (see served_reads_share and --since)"]
    totals = ", ".join(f"{count:,} {verdict}" for verdict, count in found.totals.items() if count)
    rate = f"{found.events:,} events folded in {seconds:.1f} s, {found.reads / max(seconds, 1e-3):,.0f} reads a second"
    summary = [f"{found.reads:,} served reads of {name}: {totals}; {rate}"]
    if found.wrong_snapshots:
        summary.append(f"{found.wrong_snapshots:,} state snapshots were wrong and have been replaced")
    return summary + found.examples


def advice(name: str, found: AuditFindings, generation: int | None, on_record: int) -> str:
    """One line that says what to do; "" if nothing is wrong. ``on_record``: mismatches of the active generation."""
    from projections.parity.served_reads import ReadVerdict

    different = found.totals[ReadVerdict.DIFFERENT]
    what = f"{different:,} answers and {found.wrong_snapshots:,} state snapshots disagree with the log"
    if on_record:
        if not found.mismatches:
            what = f"{on_record:,} mismatches are on record"
        return f"{what}; generation {generation}, which is served, is wrong: run `rebuild-projection {name}`"
    if found.mismatches:
        old = ", ".join(map(str, sorted(found.generations)))
        return (
            f"{what}, all of generation {old}, which is no longer served: check only later answers, with --since, "
            "and do not roll back to it"
        )
    return ""


def document(name: str, found: AuditFindings, seconds: float, generation: int | None, on_record: int) -> dict[str, Any]:
    """The totals as a JSON document."""
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
    name: Annotated[str, typer.Argument(metavar="[PROJECTION]", help="The projection, or city, or eta.")] = "speed",
    since: Annotated[
        str | None,
        typer.Option(
            metavar="T", help="Only answers served since T: epoch ms, RFC 3339, or a duration such as 1h ago."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Number of processes that fold, each its own keys.")] = (
        WORKERS
    ),
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute served answers from the event store, and compare them byte for byte.

    `serve` records a share of its answers (the setting served_reads_share). Each is folded again from the rider's
    first event, or from a state snapshot that was itself folded that way. The findings are recorded.

    With `city`, each recorded city snapshot is merged again from the events up to its vector of fences, and its digest
    is compared; each event is folded once, in one process. With `eta`, each recorded ETA is computed again from its
    order, its rider and its city snapshot, all folded from the events, in one process too.

    With a projection that raises alerts, such as spoofing, every stored case file is compared with the one that the
    events of its rider give; --since means alerts raised since T.

    Works with or without a running `serve`. Exits with 1 if an answer, or a state snapshot on the way, disagrees with
    the log.
    """
    import msgspec

    from infrastructure.backends import EVENT_STORE_SETTINGS, projection_named
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.cli.progress import Reporter
    from infrastructure.embedded.stack import servers_for
    from infrastructure.operations.verify_parity import open_parity_evidence, verify
    from infrastructure.settings.settings import Settings
    from projections.cases import case_source

    if name in ("city", "eta"):
        (_verify_city if name == "city" else _verify_eta)(since, data_dir, as_json=as_json)
        return
    projection = projection_named(name)
    if case_source(projection) is not None:
        _verify_cases(projection, since, data_dir, as_json=as_json)
        return
    if projection.view is None:
        raise UserError(f"{name} serves rows, not values of a key: run rebuild-projection {name} --verify-only instead")
    since_ms = _since_ms(since)
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

        found = verify(settings, here, since_ms, count, workers, show)
        seconds = time.monotonic() - began
        generation, on_record = here.reads.mismatches()
    if as_json:
        echo(msgspec.json.encode(document(name, found, seconds, generation, on_record)))
    else:
        for line in lines(name, found, seconds):
            echo(line)
    if message := advice(name, found, generation, on_record):
        raise UserError(message)


def _verify_cases(projection: Projection[Any], since: str | None, data_dir: DataDirOption, *, as_json: bool) -> None:
    import msgspec

    from infrastructure.backends import EVENT_STORE_SETTINGS, open_backends
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.cli.progress import Reporter
    from infrastructure.embedded.stack import servers_for
    from infrastructure.operations import verify_cases
    from infrastructure.settings.settings import Settings

    name, since_ms = projection.name, _since_ms(since)
    logging.getLogger("ridelog").setLevel(logging.ERROR)
    with (
        expected_as_user_error(),
        servers_for(Settings.load({"data_dir": data_dir}), EVENT_STORE_SETTINGS) as settings,
        open_backends(settings) as backends,
        Reporter(f"verify {name}", "riders", 1.0) as shown,
    ):
        began = time.monotonic()

        def show(found: verify_cases.CaseFindings) -> None:
            shown.update(0.0, found.riders, f"{found.files:,} case files")

        found = verify_cases.verify_cases(backends, projection, since_ms, show)
        seconds = time.monotonic() - began
    if as_json:
        echo(msgspec.json.encode(verify_cases.document(name, found, seconds)))
    else:
        for line in verify_cases.lines(name, found, seconds):
            echo(line)
    if message := verify_cases.advice(name, found):
        raise UserError(message)


def _since_ms(since: str | None) -> int:
    from infrastructure.timestamps import now_ms, time_or_ago_ms

    try:
        return 0 if since is None else time_or_ago_ms(since, now_ms())
    except ValueError as error:
        raise UserError(
            f"--since {since!r}: {error}; give epoch milliseconds, RFC 3339 with zone, or a duration such as 1h"
        ) from error


def _verify_city(since: str | None, data_dir: DataDirOption, *, as_json: bool) -> None:
    import msgspec

    from infrastructure.backends import EVENT_STORE_SETTINGS, open_backends
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.cli.progress import Reporter
    from infrastructure.embedded.stack import servers_for
    from infrastructure.operations import verify_city
    from infrastructure.settings.settings import Settings
    from projections.parity.city_findings import CityFindings

    since_ms = _since_ms(since)
    logging.getLogger("ridelog").setLevel(logging.ERROR)
    with (
        expected_as_user_error(),
        servers_for(Settings.load({"data_dir": data_dir}), EVENT_STORE_SETTINGS) as settings,
        open_backends(settings) as backends,
        Reporter("verify city", "events", 1.0) as shown,
    ):
        log_events, began = max(1, backends.log.head("Rider").position), time.monotonic()

        def show(findings: CityFindings, events: int) -> None:
            shown.update(min(1.0, events / log_events), events, f"{findings.checked:,} snapshots checked")

        verifier = verify_city.verify_city(backends, since_ms, show)
        seconds = time.monotonic() - began
    if as_json:
        echo(msgspec.json.encode(verify_city.document(verifier.findings, verifier.events, seconds)))
    else:
        for line in verify_city.lines(verifier.findings, verifier.events, seconds):
            echo(line)
    if message := verify_city.advice(verifier.findings):
        raise UserError(message)


def _verify_eta(since: str | None, data_dir: DataDirOption, *, as_json: bool) -> None:
    import msgspec

    from infrastructure.backends import EVENT_STORE_SETTINGS, open_backends
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.cli.progress import Reporter
    from infrastructure.embedded.stack import servers_for
    from infrastructure.operations import verify_eta
    from infrastructure.postgres.served_etas import PostgresServedEtas
    from infrastructure.settings.settings import Settings
    from projections.parity.served_etas import eta_code_digest

    since_ms = _since_ms(since)
    logging.getLogger("ridelog").setLevel(logging.ERROR)
    with (
        expected_as_user_error(),
        servers_for(Settings.load({"data_dir": data_dir}), EVENT_STORE_SETTINGS) as settings,
        open_backends(settings) as backends,
        Reporter("verify eta", "answers", 1.0) as shown,
    ):
        etas = PostgresServedEtas(backends.engine)
        count, began = etas.count(since_ms), time.monotonic()

        def show(answers: int, events: int) -> None:
            shown.update(answers / max(count, 1), answers, f"{events:,} events folded")

        findings, events = verify_eta.verify_eta(backends, since_ms, show)
        seconds, on_record = time.monotonic() - began, etas.mismatches(eta_code_digest())
    if as_json:
        echo(msgspec.json.encode(verify_eta.document(findings, events, seconds, on_record)))
    else:
        for line in verify_eta.lines(findings, events, seconds):
            echo(line)
    if message := verify_eta.advice(findings, on_record):
        raise UserError(message)
