"""``demo``: runs serve and a simulated city, and shows ETAs and speeds that ridelog serves next to the true ones."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from infrastructure.cli.demo_turns import repeat, wait_until
from infrastructure.cli.output import cell, echo, echo_lines
from infrastructure.cli.simulate import ORDERS_PER_RIDER, RIDERS_PER_RESTAURANT
from infrastructure.errors import UserError
from infrastructure.timestamps import now_ms

if TYPE_CHECKING:
    from rich.table import Table

    from infrastructure.cli.demo_history import DemoCity
    from infrastructure.cli.demo_server import DemoServer
    from infrastructure.client.client import RidelogClient
    from infrastructure.client.messages import SpeedAnswer
    from infrastructure.simulator.actions import RiderTruth
    from infrastructure.simulator.world import SimulatedWorld
    from infrastructure.supervision.signals import StopSignals


COLOURS = {"fresh": "green", "stale": "yellow", "expired": "red"}


def speed_table(
    riders: Sequence[str], truths: Mapping[str, RiderTruth], speeds: Mapping[str, SpeedAnswer], title: str
) -> Table:
    """Build a table with one row per rider. The true speed is that of the newest ping sent; a dash means unknown."""
    from rich.table import Table

    table = Table(title=cell(title), title_justify="left", title_style="bold")
    table.add_column("rider")
    for name in ("true m/s", "speed_mps", "path_speed_mps", "pings", "age s"):
        table.add_column(name, justify="right")
    table.add_column("status")
    table.add_column("position", justify="right")
    for rider in riders:
        speed = speeds.get(rider)
        truth = f"{truths[rider].speed_mps:.1f}" if rider in truths else "–"
        if speed is None:
            # A phone may start without network or position. An empty row would look like a fault, so the row says so.
            table.add_row(cell(rider), truth, *["–"] * 4, "no ping yet", "–")
            continue
        colour = COLOURS.get(speed.status, "white")
        table.add_row(
            cell(rider),
            truth,
            _number(speed.speed_mps),
            _number(speed.path_speed_mps),
            str(speed.pings_in_window),
            "–" if speed.age_ms is None else f"{speed.age_ms / 1000.0:.1f}",
            cell(speed.status, colour),
            f"{speed.position:,}",
        )
    return table


def what_to_try(url: str) -> str:
    """Lists addresses to open and commands to paste."""
    ping = '{"rider_id": "me", "latitude": 41.39, "longitude": 2.16, "event_timestamp_ms": \'$(date +%s000)\'}'
    return "\n".join(
        (
            f"ridelog runs at {url}; open",
            f"  {url}/          the page: riders, orders and traffic, now and at any past instant",
            f"  {url}/?demo=    break it: kill a part or cut Redis, and watch that nothing is lost",
            f"  {url}/schema    the API as OpenAPI",
            f"  {url}/metrics   the metrics for Prometheus",
            "and try",
            f"  curl {url}/riders/rider-0001/speed",
            f"  curl '{url}/deliveries?status=picked_up'",
            f"  curl -H 'Content-Type: application/json' -d '{ping}' {url}/pings",
            f"  curl {url}/riders/me/speed",
        )
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


DATA_DIR = Path(".ridelog/demo")
PLAIN_DURATION_S = 30.0
PLAIN_INTERVAL_S = 5.0
LIVE_INTERVAL_S = 1.0
HISTORY_MIN = 60.0
"""With a terminal: the page's handle has somewhere to go. Without one, the demo begins at once, for scripts."""
FIRST_ANSWERS_WITHIN_S = 60.0
"""Without a terminal the time of the demo starts with the first speed and ETA, or after so long: on a busy machine ten
seconds may pass until the projections follow."""
READ_TIMEOUT_S = 2.0
MAX_SHOWN = 20
# Gaps short enough to see both their start and their end. Gaps of a real day are longer than a whole demo.
GAPS: dict[str, Any] = {
    "no_fix_per_hour": 20.0,
    "no_fix_s": (3.0, 6.0),
    "offline_per_hour": 20.0,
    "offline_s": (5.0, 12.0),
}


class DemoPlan(NamedTuple):
    """The options of a demo. ``duration_s`` None: until Ctrl-C; ``live``: the output is a terminal; ``history_s``: how
    much of the city is before the start."""

    riders: int
    orders: float
    restaurants: int
    every_s: float
    seed: int
    duration_s: float | None
    live: bool
    history_s: float


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    riders: Annotated[
        int, typer.Option(min=1, max=10_000, help=f"Number of riders; the first {MAX_SHOWN} are shown.")
    ] = 10,
    orders: Annotated[
        float | None,
        typer.Option(min=0.0, max=1_000_000.0, help="Orders per hour.  \\[default: 2 per rider]"),
    ] = None,
    restaurants: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Number of restaurants.  \\[default: one for two riders]")
    ] = None,
    every: Annotated[float, typer.Option(min=0.05, help="Seconds between two GPS fixes of a rider.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same routes, noise and gaps.")] = 1,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.0, help="Duration.  \\[default: until Ctrl-C; 30 if the output is not a terminal]"),
    ] = None,
    history: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=HISTORY_MIN,
            help="Minutes of the city before the start, in a new data directory; shorter with many riders."
            f"  \\[default: {HISTORY_MIN:.0f}; 0 if the output is not a terminal]",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help=f"Its data and logs.  \\[default: {DATA_DIR}]")
    ] = None,
) -> None:
    """Start a separate ridelog, send it a simulated city, and show orders with their ETA and riders' speeds live.

    At the end the demo stops what it started, and keeps its data.
    """
    from infrastructure.cli.demo_history import begin, history_s, is_new
    from infrastructure.cli.demo_server import DemoServer
    from infrastructure.supervision.signals import StopRequested, StopSignals

    live = sys.stdout.isatty()
    duration_s = seconds if seconds is not None or live else PLAIN_DURATION_S
    per_hour = ORDERS_PER_RIDER * riders if orders is None else orders
    kitchens = restaurants or max(1, riders // RIDERS_PER_RESTAURANT)
    folder = data_dir or DATA_DIR
    minutes = history if history is not None else HISTORY_MIN if live else 0.0
    past_s = history_s(minutes * 60.0, riders / every) if is_new(folder) else 0.0
    plan = DemoPlan(riders, per_hour, kitchens, every, seed, duration_s, live, past_s)
    with StopSignals() as signals:
        echo("starting PostgreSQL, Valkey, a Kafka-compatible broker and ridelog …")
        with DemoServer(folder) as server:
            try:
                with signals.interrupting():
                    city = begin(_world(plan), plan.history_s, folder, lambda: server.wait_ready(time.sleep))
                _show(server, signals, plan, city)
            except StopRequested:
                pass
            except UserError:
                echo_lines(server.log_tail().split("\n"), err=True)
                raise
            finally:
                echo("stopping …")


def _world(plan: DemoPlan) -> SimulatedWorld:
    from infrastructure.simulator.demand import Demand
    from infrastructure.simulator.scenario import PhoneModel, Scenario
    from infrastructure.simulator.world import SimulatedWorld

    # Half of the riders get an order at once, so that the first table has deliveries under way.
    demand = Demand(plan.orders, plan.restaurants, opening=(plan.riders + 1) // 2 if plan.orders else 0)
    phone = PhoneModel(every_s=plan.every_s, **GAPS)
    start_ms = now_ms() - round(plan.history_s * 1_000.0)
    return SimulatedWorld(Scenario(str(plan.seed), start_ms, math.inf, plan.riders, phone=phone, demand=demand))


def _show(server: DemoServer, signals: StopSignals, plan: DemoPlan, city: DemoCity) -> None:
    from rich.console import Console, Group
    from rich.live import Live

    from infrastructure.cli.demo_count import CountedClient, LogCount
    from infrastructure.cli.demo_orders import DemoOrder, OrderBoard, cancel_left_orders, orders_table
    from infrastructure.client.client import RidelogClient
    from infrastructure.simulator.fleet import BackgroundFleet
    from infrastructure.simulator.scenario import rider_ids

    riders, duration_s = plan.riders, plan.duration_s
    shown = rider_ids(min(riders, MAX_SHOWN))
    reader = RidelogClient(server.url, retry_timeout_s=READ_TIMEOUT_S, connect_timeout_s=READ_TIMEOUT_S)
    ends = "Ctrl-C ends it" if plan.live or duration_s is None else f"ends after {duration_s:.0f} s"
    board = OrderBoard(reader, city.ends)
    echo_lines(what_to_try(server.url).split("\n"))
    with RidelogClient(server.url) as client:
        # A new log has the orders of its own past alone, which go on.
        if not plan.history_s and (left := cancel_left_orders(client)):
            echo(f"cancelled {left:,} orders of a demo that was killed")
    books = server.control.books
    with (
        reader,
        LogCount(server.url, books) as server.control.count,
        CountedClient(server.url, books) as writer,
        BackgroundFleet(city.actions, writer, city.open_orders) as simulation,
    ):
        seen: set[str] = set()

        def tables() -> Group:
            server.check()
            simulation.check()
            # The truth is read before the answers: a newer truth would make the answers look wrong.
            totals = simulation.runner.totals
            truths = totals.truths
            speeds, problem = _read(reader, shown)
            seen.update(speeds)
            rows: list[DemoOrder] = []
            if not problem:
                try:
                    rows = board.read(list(totals.open_orders))
                except UserError as error:
                    problem = str(error)
            title = f"{len(totals.open_orders):,} orders open, {totals.commands.total():,} commands recorded"
            orders = orders_table(rows, now_ms(), f"{title}; minutes until the hand-over")
            balance = books.balance()
            counted = f"{balance.lost:,} lost, {balance.doubled:,} double"
            title = f"{riders:,} riders, {totals.accepted:,} pings recorded, {counted}"
            return Group(orders, speed_table(shown, truths, speeds, f"{title}; {problem or ends}"))

        if plan.live:
            with Live(tables(), refresh_per_second=4) as screen:
                repeat(lambda: screen.update(tables()), signals, LIVE_INTERVAL_S, duration_s)
        else:
            console = Console(width=110)

            def answered() -> bool:
                tables()
                return bool(seen) and (bool(board.etas) or not plan.orders)

            if duration_s:
                wait_until(answered, signals, FIRST_ANSWERS_WITHIN_S)
            repeat(lambda: console.print(tables()), signals, PLAIN_INTERVAL_S, duration_s)
            # Without a terminal a script checks whether ridelog works. An empty table must not pass as success.
            if not signals.requests and duration_s is not None and duration_s >= PLAIN_INTERVAL_S:
                unread = "no speed" if not seen else "no ETA" if plan.orders and not board.etas else ""
                if unread:
                    raise UserError(f"{unread} could be read in {duration_s:.0f} s; see {server.log_path.parent}")


def _read(reader: RidelogClient, riders: list[str]) -> tuple[dict[str, SpeedAnswer], str]:
    found: dict[str, SpeedAnswer] = {}
    for rider in riders:
        try:
            speed = reader.speed(rider)
        except UserError as error:
            # A part of ridelog may be restarting. The next turn asks again, and check() raises if serve has ended.
            return found, str(error)
        if speed is not None:
            found[rider] = speed
    return found, ""
