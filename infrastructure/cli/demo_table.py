"""What the demo shows: what is true of each rider beside what ridelog serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from infrastructure.cli.output import cell
from infrastructure.client.receipts import Speed
from infrastructure.simulator.world import Rider

COLOURS = {"fresh": "green", "stale": "yellow", "expired": "red"}


def speed_table(riders: Sequence[str], truths: Mapping[str, Rider], speeds: Mapping[str, Speed], title: str) -> Table:
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
