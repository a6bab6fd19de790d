"""``simulate``: sends the pings and deliveries of simulated riders, restaurants and customers on a street grid."""

from __future__ import annotations

import json
import math
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infrastructure.cli.options import DataDirOption, JsonOption, TokenOption, UrlOption, connect
from infrastructure.cli.output import echo
from infrastructure.errors import UserError
from infrastructure.timestamps import now_ms

if TYPE_CHECKING:
    from infrastructure.simulator.city import City
    from infrastructure.simulator.scenario import Scenario

FAST_DURATION_S = 600.0
ORDERS_PER_RIDER = 2.0
"""Orders per hour and rider at work: a delivery takes about twenty minutes of a rider, so most riders are busy."""

AT_WORK_SHARE = 8 / 24 * 5 / 7
"""Share of the riders who are at work in a history, on average: eight hours on five of seven days."""

HISTORY_ORDERS_PER_RIDER = 1.5
"""The same in a history, where the evenings have more than twice as many orders as the mean hour."""

HISTORY_EVERY_S = 5.0

RIDERS_PER_RESTAURANT = 2


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(simulate)


def simulate(
    riders: Annotated[int, typer.Option(min=1, max=100_000, help="Number of riders.")] = 20,
    orders: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1_000_000.0,
            help="Orders per hour; 0: only pings.  \\[default: 2 per rider; in a history 1.5 per rider at work]",
        ),
    ] = None,
    restaurants: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Number of restaurants.  \\[default: one for two riders]")
    ] = None,
    every: Annotated[
        float | None,
        typer.Option(min=0.05, help="Seconds between two GPS fixes of a rider.  \\[default: 1; in a history 5]"),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Instead of --every: GPS fixes per second of all riders together.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same orders, routes, noise and gaps.")] = 1,
    duration: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds to simulate.  \\[default: until Ctrl-C; with --fast 600]")
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Send the last DURATION seconds as fast as the server accepts them.")
    ] = False,
    history: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Write the last days, such as 14d, directly to an empty log: riders work in shifts, and orders follow "
            "the hour of the week.",
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(help="Write what really happened on each leg to this file: .parquet, else CSV."),
    ] = None,
    latitude: Annotated[float, typer.Option(min=-80.0, max=80.0, help="Centre of the city, WGS84.")] = 41.3917,
    longitude: Annotated[float, typer.Option(min=-179.0, max=179.0, help="Centre of the city, WGS84.")] = 2.1649,
    time_zone: Annotated[str, typer.Option(help="Time zone of the city, IANA.")] = "Europe/Madrid",
    currency: Annotated[str, typer.Option(help="Currency of the orders, ISO 4217.")] = "EUR",
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Simulate a city: customers order, restaurants cook, riders deliver, and all of it goes to a running ridelog.

    The pings have GPS noise that is correlated in time, lost fixes, late batches, repeated requests and missing device
    speeds. Streets are slow in rush hours. Orders are stacked, reassigned and cancelled at times, and riders press
    "arrived" early or late. At its end a run cancels the orders that are still open.

    With --history nothing is sent over HTTP. Pings and deliveries enter the log with the times at which they would have
    been received, in that order. The log must be empty; the Postgres of a running serve is used, else one is started.
    """
    from infrastructure.cli.history import HistoryOptions, simulate_history
    from infrastructure.simulator.demand import Demand
    from infrastructure.simulator.scenario import PhoneModel, Scenario

    if every is not None and rate is not None:
        raise typer.BadParameter("give --every or --rate, not both")
    seconds = duration if duration is not None or not fast else FAST_DURATION_S
    scenario = Scenario(
        str(seed),
        # A fast run ends now: the server would reject pings from the future.
        now_ms() - (round((seconds or 0.0) * 1000) if fast else 0),
        math.inf if seconds is None else seconds,
        riders,
        _city(latitude, longitude, time_zone, currency),
        phone=PhoneModel(every_s=every or (riders / rate if rate else HISTORY_EVERY_S if history else 1.0)),
        demand=Demand(
            ORDERS_PER_RIDER * riders if orders is None else orders,
            restaurants or max(1, riders // RIDERS_PER_RESTAURANT),
        ),
    )
    if history is not None:
        if fast or duration is not None or url is not None:
            raise typer.BadParameter("--history is written to an empty log: leave out --fast, --duration and --url")
        report = simulate_history(_of_history(scenario, history, orders), HistoryOptions(data_dir, truth))
    else:
        with ExitStack() as stack:
            report = _run(scenario, fast, truth, stack, (url, data_dir, token))
    _print_report({"riders": riders, "seed": seed, **report}, as_json)


def _of_history(scenario: Scenario, history: str, orders: float | None) -> Scenario:
    """The scenario over the last days, with shifts, and with demand by the hour of the week."""
    from infrastructure.cli.history import ENDS_BEFORE_NOW_MS, LAST_ORDER_S, history_s

    try:
        seconds = history_s(history)
    except ValueError as error:
        raise typer.BadParameter(f"--history: {error}") from error
    per_hour = HISTORY_ORDERS_PER_RIDER * AT_WORK_SHARE * scenario.riders if orders is None else orders
    until_s = max(seconds / 2, seconds - LAST_ORDER_S)
    return scenario._replace(
        start_ms=now_ms() - ENDS_BEFORE_NOW_MS - round(seconds * 1_000),
        duration_s=seconds,
        demand=scenario.demand._replace(orders_per_hour=per_hour, by_hour=True, until_s=until_s),
        shifts=True,
    )


def _city(latitude: float, longitude: float, time_zone: str, currency: str) -> City:
    from zoneinfo import ZoneInfo

    from infrastructure.simulator.city import City

    try:
        ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise typer.BadParameter(f"--time-zone: {time_zone!r} is not a time zone such as Europe/Madrid") from error
    default = City()
    name = default.name if (latitude, longitude) == default[:2] else "simulated"
    return default._replace(latitude=latitude, longitude=longitude, name=name, time_zone=time_zone, currency=currency)


def _run(
    scenario: Scenario,
    fast: bool,
    truth: Path | None,
    stack: ExitStack,
    server: tuple[str | None, Path | None, str | None],
) -> dict[str, Any]:
    from infrastructure.cli.error_handling import interruptible
    from infrastructure.cli.progress import Reporter
    from infrastructure.simulator.fleet import FleetRunner, FleetTotals
    from infrastructure.simulator.truth_file import TruthFile
    from infrastructure.simulator.world import SimulatedWorld, all_actions

    began = time.monotonic()
    world = SimulatedWorld(scenario)
    reporter = stack.enter_context(
        Reporter("simulate", "pings", scenario.duration_s if math.isfinite(scenario.duration_s) else None)
    )
    file = stack.enter_context(TruthFile(truth)) if truth is not None else None
    client = stack.enter_context(connect(*server, reporter.note))

    def on_request(totals: FleetTotals, simulated_s: float) -> None:
        legs = world.truths.take()
        if file is not None:
            file.add(legs)
        note = f"{len(totals.open_orders):,} orders open, {totals.accepted:,} pings accepted"
        reporter.update(simulated_s, totals.sent, note)

    runner = FleetRunner(client, on_request)
    try:
        # Ctrl-C is the usual end of a run without --duration. The report of what was sent is still printed.
        with suppress(KeyboardInterrupt), interruptible():
            if fast:
                runner.fast(all_actions(world), threading.Event())
            else:
                runner.real_time(all_actions(world), threading.Event(), time.monotonic)
        runner.cancel_open_orders()
    except UserError as error:
        raise UserError(
            f"{error} ({runner.totals.accepted:,} pings were accepted before that, and "
            f"{len(runner.totals.open_orders):,} orders are open)"
        ) from error
    if file is not None:
        file.add(world.truths.take())
    return {**runner.totals.summary(), "seconds": round(time.monotonic() - began, 3)}


def _print_report(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        echo(json.dumps(report))
        return
    echo(
        f"{report['riders']:,} riders sent {report['sent']:,} pings in {report['seconds']:.1f} s: "
        f"{report['accepted']:,} accepted, {report['duplicates']:,} duplicates"
        + "".join(f", {count:,} rejected {code}" for code, count in report["rejected"].items())
    )
    if "late" in report:
        echo(f"{report['late']:,} of them were sent late, after a time offline; {report['repeated']:,} were repeats")
    echo(
        f"{report['orders']:,} orders: {report['completed']:,} completed, {report['cancelled']:,} cancelled; "
        f"{report['commands']:,} commands recorded, {report['repeated_commands']:,} repeats"
        + "".join(f", {count:,} refused {code}" for code, count in report.get("refused_commands", {}).items())
    )
    if "items_per_s" in report:
        echo(f"{report['items_per_s']:,} pings and commands per second; a `serve` publishes them when it next runs")
