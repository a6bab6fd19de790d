"""``simulate``: sends the pings of simulated riders on a street grid."""

from __future__ import annotations

import json
import math
import threading
import time
from contextlib import suppress
from typing import Annotated, Any

import typer

from infrastructure.cli.options import DataDirOption, JsonOption, TokenOption, UrlOption, connect
from infrastructure.cli.output import echo
from infrastructure.errors import UserError
from infrastructure.timestamps import now_ms

FAST_DURATION_S = 600.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(simulate)


def simulate(
    riders: Annotated[int, typer.Option(min=1, max=100_000, help="Number of riders.")] = 20,
    every: Annotated[
        float | None, typer.Option(min=0.05, help="Seconds between two GPS fixes of a rider.  \\[default: 1]")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Instead of --every: GPS fixes per second of all riders together.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same routes, noise and gaps.")] = 1,
    duration: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds to simulate.  \\[default: until Ctrl-C; with --fast 600]")
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Send the last DURATION seconds as fast as the server accepts them.")
    ] = False,
    latitude: Annotated[float, typer.Option(min=-80.0, max=80.0, help="Centre of the city, WGS84.")] = 41.3917,
    longitude: Annotated[float, typer.Option(min=-179.0, max=179.0, help="Centre of the city, WGS84.")] = 2.1649,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Simulate riders who move through a street grid and send their pings to a running ridelog.

    The pings have GPS noise that is correlated in time, lost fixes, late batches, repeated requests and missing device
    speeds.
    """
    from infrastructure.cli.error_handling import interruptible
    from infrastructure.cli.progress import Reporter
    from infrastructure.simulator.fleet import FleetRunner, FleetTotals, fleet_uploads
    from infrastructure.simulator.phone import Day, PhoneModel
    from infrastructure.simulator.riders import City

    if every is not None and rate is not None:
        raise typer.BadParameter("give --every or --rate, not both")
    phone = PhoneModel(every_s=every or (riders / rate if rate else 1.0))
    seconds = duration if duration is not None or not fast else FAST_DURATION_S
    ends = math.inf if seconds is None else seconds
    # A fast run ends now: the server would reject pings from the future.
    start_ms = now_ms() - (round(ends * 1000) if fast else 0)
    uploads = fleet_uploads(riders, Day(str(seed), start_ms, ends, City(latitude, longitude), phone=phone))
    stop = threading.Event()
    began = time.monotonic()
    with Reporter("simulate", "pings", seconds) as reporter, connect(url, data_dir, token, reporter.note) as client:

        def on_request(totals: FleetTotals, simulated_s: float) -> None:
            reporter.update(simulated_s, totals.sent, f"{totals.accepted:,} accepted")

        runner = FleetRunner(client.post_pings, on_request)
        # Ctrl-C is the usual end of a run without --duration. The report of what was sent is still printed.
        with suppress(KeyboardInterrupt), interruptible():
            try:
                if fast:
                    runner.fast(uploads, stop)
                else:
                    runner.real_time(uploads, stop, time.monotonic)
            except UserError as error:
                raise UserError(f"{error} ({runner.totals.accepted:,} pings were accepted before that)") from error
    report: dict[str, Any] = {"riders": riders, "seed": seed, **runner.totals.summary()}
    report["seconds"] = round(time.monotonic() - began, 3)
    _print_report(report, as_json)


def _print_report(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        echo(json.dumps(report))
        return
    echo(
        f"{report['riders']:,} riders sent {report['sent']:,} pings in {report['seconds']:.1f} s: "
        f"{report['accepted']:,} accepted, {report['duplicates']:,} duplicates"
        + "".join(f", {count:,} rejected {code}" for code, count in report["rejected"].items())
    )
    echo(f"{report['late']:,} of them were sent late, after a time offline; {report['repeated']:,} were repeats")
