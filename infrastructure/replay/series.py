"""Series of one key's states and values over time on either axis, from the event store; and a plot of two series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from domain.identifiers import shard_of
from domain.timestamps import utc_datetime
from infrastructure.backends import Backends
from infrastructure.replay.whole_files import writing_export
from projections.core.fold import NO_SNAPSHOTS, Fold
from projections.core.ports import ParkedEvent
from projections.core.projection import Projection
from projections.replay.archive import TimedEvent
from projections.replay.as_of import Horizon
from projections.replay.key_replay import KeyFold, KeyReplay
from projections.replay.timeline import happened_states, known_states
from read_models.view import ViewLimits


class StateSeries:
    """The states of keys at given ticks, on the axis of ``horizon``. ``ticks``: instants in epoch milliseconds."""

    def __init__(self, backends: Backends, projection: Projection[Any], horizon: Horizon, ticks: range) -> None:
        """Reads the discarded positions, which apply to all keys. Raises PortUnavailable."""
        self._source = backends.replay_source(projection)
        self._replay = KeyReplay(self._source, backends.snapshots(projection))
        self._discarded = backends.archive.discarded(projection.name)
        self._horizon = horizon
        self._ticks = ticks

    def states(self, key: str, events: Iterable[TimedEvent], *, whole: bool) -> Iterator[tuple[int, Any]]:
        """(tick, state) from the first tick that has a state.

        ``events``: all events of the key, in the order of a walk on this axis; on the axis position, by recording time.
        ``whole``: it is known that no event was detached. Raises Unresolvable.
        """
        horizon = self._horizon
        if not whole:
            self.check_not_detached(key)
        fold = Fold(self._source.projection, self._source.decode, lambda: horizon.at_ms, NO_SNAPSHOTS)
        of = KeyFold(fold, key, self._discarded)
        if horizon.happened_by_ms is None:
            return known_states(of, events, self._ticks)

        def from_log(tick: int) -> tuple[Any, ParkedEvent | None]:
            found = self._replay.at(key, horizon._replace(happened_by_ms=tick, at_ms=tick))
            return (None, None) if found is None else (found.state, found.parked)

        return happened_states(of, events, self._ticks, from_log)

    def check_not_detached(self, key: str) -> None:
        """Raises Unresolvable if the first events of ``key`` were detached, or may have been."""
        self._replay.check_not_detached(key, self._horizon)

    def column(self, key: str, name: str, limits: ViewLimits) -> tuple[list[int], list[float | None]]:
        """Ticks (epoch ms) and the values of a column of the view at them. Raises Unresolvable."""
        projection, archive, horizon = self._source.projection, self._source.archive, self._horizon
        view = projection.view
        assert view is not None
        by_event_time = horizon.happened_by_ms is not None
        walk = archive.walk(projection.stream, [key], shard_of(key), horizon.position, by_event_time=by_event_time)
        times: list[int] = []
        values: list[float | None] = []
        state, features = None, None
        for tick, now in self.states(key, walk, whole=False):
            if now is not state:
                state, features = now, view.features(now)
            times.append(tick)
            values.append(view.row(key, features, tick, limits, False)[name])
        return times, values


Series = tuple[str, Sequence[int], Sequence[float | None]]
"""Label, epoch milliseconds, values."""


def plot(path: Path, title: str, unit: str, series: Sequence[Series]) -> None:
    """Write a PNG. The line has a gap where a value is unknown. Raises OSError."""
    # Imported here, because it takes half a second. This backend needs no display and has no global state.
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
    with writing_export(path) as file:
        figure.savefig(file, format="png")
