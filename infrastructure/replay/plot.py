"""Two series of one value over time, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domain.timestamps import utc_datetime

Series = tuple[str, Sequence[int], Sequence[float | None]]
"""Label, epoch milliseconds, values."""


def plot(path: Path, title: str, unit: str, series: Sequence[Series]) -> None:
    """Write a PNG. Where a value is unknown the line is broken."""
    # Here, since it takes half a second: only who plots waits for it. Without a display, and without global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (label, times, values) in enumerate(series):
        moments: Any = [utc_datetime(ms) for ms in times]
        known = [float("nan") if value is None else value for value in values]
        style = "--" if number else "-"
        axes.plot(moments, known, label=label, linewidth=2.4 - number, alpha=0.85, linestyle=style)
    axes.set_title(title)
    axes.set_ylabel(unit)
    axes.set_xlabel("UTC")
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize="small")
    figure.savefig(path, format="png")
