"""``demo``: serve, simulated riders and their speeds, live."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from infrastructure.cli.output import cell, echo, echo_lines
from infrastructure.client.messages import SpeedAnswer
from infrastructure.errors import UserError
from infrastructure.simulator.riders import SimulatedRider

if TYPE_CHECKING:
    from rich.table import Table

    from infrastructure.cli.demo_server import DemoServer
    from infrastructure.client.client import RidelogClient
    from infrastructure.client.messages import SpeedAnswer
    from infrastructure.supervision.signals import StopSignals


COLOURS = {"fresh": "green", "stale": "yellow", "expired": "red"}


def speed_table(
    riders: Sequence[str], truths: Mapping[str, SimulatedRider], speeds: Mapping[str, SpeedAnswer], title: str
) -> Table:
    """One row a rider; the truth is that of the newest ping sent. Dashes: not known yet."""
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
            # A phone may be without network or position from the start: an empty row alone would look like a fault.
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
    """Addresses to open and lines to paste."""
    ping = '{"rider_id": "me", "latitude": 41.39, "longitude": 2.16, "event_timestamp_ms": \'$(date +%s000)\'}'
    return "\n".join(
        (
            f"ridelog runs at {url}; open",
            f"  {url}/schema    the interface, as OpenAPI",
            f"  {url}/metrics   what Prometheus reads",
            "and try",
            f"  curl {url}/riders/rider-0001/speed",
            f"  curl -H 'Content-Type: application/json' -d '{ping}' {url}/pings",
            f"  curl {url}/riders/me/speed",
        )
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


DATA_DIR = Path(".ridelog/demo")
PLAIN_SECONDS = 30.0
PLAIN_EVERY_S = 5.0
LIVE_EVERY_S = 1.0
READ_PATIENCE_S = 2.0
MAX_SHOWN = 20
# Gaps that a spectator sees begin and end; those of a real day are longer than a whole demo without a terminal.
GAPS: dict[str, Any] = {
    "no_fix_per_hour": 20.0,
    "no_fix_s": (3.0, 6.0),
    "offline_per_hour": 20.0,
    "offline_s": (5.0, 12.0),
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    riders: Annotated[int, typer.Option(min=1, max=10_000, help=f"How many; {MAX_SHOWN} are shown.")] = 10,
    every: Annotated[float, typer.Option(min=0.05, help="Seconds between two fixes of a rider.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same ways, noise and gaps.")] = 1,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.0, help="How long.  \\[default: until Ctrl-C; 30 where the output is no terminal]"),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help=f"Where it keeps data and logs.  \\[default: {DATA_DIR}]")
    ] = None,
) -> None:
    """Start a ridelog of its own, send it simulated riders, and show their speeds live.

    Stops at its end what it has started, and keeps its data.
    """
    from infrastructure.cli.demo_server import DemoServer
    from infrastructure.supervision.signals import StopRequested, StopSignals

    live = sys.stdout.isatty()
    lasts = seconds if seconds is not None or live else PLAIN_SECONDS
    with StopSignals() as signals:
        echo("starting PostgreSQL, Valkey, a Kafka-compatible broker and ridelog …")
        with DemoServer(data_dir or DATA_DIR) as server:
            try:
                with signals.interrupting():
                    server.wait_ready(time.sleep)
                _show(server, signals, riders, every, seed, lasts, live)
            except StopRequested:
                pass
            except UserError:
                echo_lines(server.log_tail().split("\n"), err=True)
                raise
            finally:
                echo("stopping …")


def _show(
    server: DemoServer, signals: StopSignals, riders: int, every: float, seed: int, lasts: float | None, live: bool
) -> None:
    from rich.console import Console
    from rich.live import Live

    from infrastructure.cli.demo import speed_table, what_to_try
    from infrastructure.client.client import RidelogClient
    from infrastructure.simulator.fleet import BackgroundFleet, fleet_uploads, rider_ids
    from infrastructure.simulator.phone import Day, PhoneModel

    day = Day(str(seed), time.time_ns() // 1_000_000, math.inf, phone=PhoneModel(every_s=every, **GAPS))
    shown = rider_ids(min(riders, MAX_SHOWN))
    reader = RidelogClient(server.url, patience_s=READ_PATIENCE_S, first_patience_s=READ_PATIENCE_S)
    ends = "Ctrl-C ends it" if live or lasts is None else f"ends after {lasts:.0f} s"
    echo_lines(what_to_try(server.url).split("\n"))
    with reader, RidelogClient(server.url) as writer, BackgroundFleet(fleet_uploads(riders, day), writer) as simulation:
        seen: set[str] = set()

        def table() -> Table:
            server.check()
            simulation.check()
            # Before the answers: a truth newer than they are would make them look wrong.
            truths = simulation.runner.totals.truths
            speeds, trouble = _read(reader, shown)
            seen.update(speeds)
            title = f"{riders:,} riders, {simulation.runner.totals.accepted:,} pings recorded"
            return speed_table(shown, truths, speeds, f"{title}; {trouble or ends}")

        if live:
            with Live(table(), refresh_per_second=4) as screen:
                _repeat(lambda: screen.update(table()), signals, LIVE_EVERY_S, lasts)
        else:
            console = Console(width=110)
            _repeat(lambda: console.print(table()), signals, PLAIN_EVERY_S, lasts)
            # Without a terminal it is a script that asks whether it works: an empty table is no yes.
            if not seen and not signals.requests and lasts is not None and lasts >= PLAIN_EVERY_S:
                raise UserError(f"no speed could be read in {lasts:.0f} s; see {server.log_path.parent}")


def _repeat(show: Callable[[], None], signals: StopSignals, every_s: float, lasts: float | None) -> None:
    """Show now and again every ``every_s`` seconds, for ``lasts`` seconds (None: without end) or until a signal."""
    began = time.monotonic()
    turn = 1
    while lasts is None or turn * every_s <= lasts:
        while (left := began + turn * every_s - time.monotonic()) > 0.0:
            if signals.wait(left):
                return
        if signals.requests:
            return
        show()
        turn = max(turn + 1, int((time.monotonic() - began) / every_s))


def _read(reader: RidelogClient, riders: list[str]) -> tuple[dict[str, SpeedAnswer], str]:
    found: dict[str, SpeedAnswer] = {}
    for rider in riders:
        try:
            speed = reader.speed(rider)
        except UserError as error:
            # A part of ridelog may be starting again; the next turn asks again, and check() tells the end of serve.
            return found, str(error)
        if speed is not None:
            found[rider] = speed
    return found, ""
