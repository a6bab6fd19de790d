"""Answers the queries of the command ``replay`` as documents, for the command line and for programs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from infrastructure.backends import FOLD_SETTINGS, Backends, open_backends
from infrastructure.embedded.stack import servers_for
from infrastructure.errors import UserError
from infrastructure.replay import parquet
from infrastructure.replay.all_keys import FullReplay, parts_of, replay_all
from infrastructure.replay.diff import DiffFindings, ReplayDiff
from infrastructure.replay.request import ReplayRequest, limits_of, values
from infrastructure.replay.series import StateSeries, plot
from infrastructure.timestamps import time_ms
from projections.core.projection import Projection
from projections.replay.as_of import AsOf, AsOfProblem, Horizon, InvalidAsOf, checked_as_of
from projections.replay.explain import explain
from projections.replay.key_replay import KeyReplay, steps
from read_models.view import View

Progress = Callable[[str, str], AbstractContextManager[Callable[[int, int], None]]]
"""Takes a title and a unit; while its context is open, shows the progress (done, total)."""


def as_of(at: str | None, axis: str, position: int | None) -> AsOf:
    """The horizon that the options ask for. Raises ValueError."""
    # The option's default is known. Only another axis shows that the user meant an instant.
    given_axis = None if axis == "known" else axis
    try:
        found = checked_as_of(None if at is None else partial(time_ms, at), given_axis, position)
    except InvalidAsOf as error:
        raise ValueError(_message(error.problem, axis, position)) from error
    if found is None:
        raise ValueError(_NO_INSTANT)
    return found


_NO_INSTANT = "as of when? give --at, or --position"


def _message(problem: AsOfProblem, axis: str, position: int | None) -> str:
    match problem:
        case AsOfProblem.NEGATIVE_POSITION:
            return f"--position is from 0, not {position}"
        case AsOfProblem.UNKNOWN_AXIS:
            return f"--axis is known or event, not {axis!r}; for a position give --position"
        case AsOfProblem.AXIS_WITHOUT_INSTANT:
            return _NO_INSTANT if position is None else "--axis says what --at means: give --at too, or omit --axis"
        case AsOfProblem.INSTANT_AND_POSITION:
            return "give either --at or --position; both only with --axis event"


class ReplayQuery:
    """One projection as of one instant. Every method may raise Unresolvable, PortUnavailable, UserError."""

    def __init__(
        self,
        backends: Backends,
        projection: Projection[Any],
        when: AsOf,
        allow_expired: bool,
        workers: int,
        progress: Progress,
    ) -> None:
        if projection.view is None and not projection.tables:
            raise UserError(
                f"{projection.name} has no values to show: its states and sums are what other answers are made of"
            )
        self._settings = backends.settings
        self._backends = backends
        self._source = backends.replay_source(projection)
        self._projection = projection
        self._workers = workers
        self._progress = progress
        self._archive = backends.archive
        self._snapshots = backends.snapshots(projection)
        self._request = ReplayRequest(
            projection.name, self._archive.horizon(when), limits_of(backends.settings), allow_expired
        )
        self.document = self._request.document(projection)

    def one(self, key: str) -> dict[str, Any]:
        """Replay one key: its values, or its rows by table."""
        replay = KeyReplay(self._source, self._snapshots)
        found = replay.at(key, self._request.horizon)
        if found is None:
            raise _nothing_of(key)
        shown = self.document | {"key": key, "events_folded": found.events}
        if found.parked is not None:
            shown["parked"] = found.parked._asdict()
        if self._projection.view is None:
            tables = {table.table.name: table for table in self._projection.tables}
            rows = sorted(found.rows, key=lambda row: (row.table, row.key))
            return shown | {
                "tables": {n: [parquet.row_of(t, row) for row in rows if row.table == n] for n, t in tables.items()}
            }
        if found.state is None:
            if found.parked is None:
                raise UserError(f"all events of {key!r} up to then were discarded")
            raise UserError(f"{key!r} is parked at its first event: {found.parked.reason}; see `parked show`")
        return shown | {"values": values(self._projection.view, self._request, key, found.state)}

    @contextmanager
    def all(self, out: Path | None) -> Iterator[FullReplay]:
        """Replay all keys into ``out``, with its parts next to it until complete; None: into a temporary folder."""
        if out is not None:
            with parts_of(out) as folder:
                replay = self._replay_all(folder)
                replay.write(out)
            yield replay
            return
        with tempfile.TemporaryDirectory() as folder_name:
            yield self._replay_all(Path(folder_name))

    def _replay_all(self, folder: Path) -> FullReplay:
        with self._progress("replay", "events") as on_progress:
            output = replay_all(self._settings, self._projection, self._request, folder, self._workers, on_progress)
        return FullReplay(self.document, output, self._projection)

    def explain(self, key: str) -> dict[str, Any]:
        """Explain one key's window, ping by ping."""
        view = self._view("--explain")
        if view.explain is None:
            raise UserError(f"{self._projection.name} stores nothing that could be explained: see --steps")
        found = explain(self._source, self._snapshots, key, self._request.horizon)
        if found is None:
            raise _nothing_of(key)
        shown = None if found.state is None else values(view, self._request, key, found.state)
        return self.document | {
            "key": key,
            "values": shown,
            "window": found.window,
            "too_late": found.too_late,
            "looked_at": found.looked_at,
            "parked": None if found.parked is None else found.parked._asdict(),
        }

    def steps(self, key: str, latest: int) -> dict[str, Any]:
        """One key's values after each of its latest events."""
        self._view("--steps")
        ports = (self._source, self._snapshots)
        made = [s._asdict() for s in steps(*ports, key, self._request.horizon, latest, self._request.limits)]
        if not made and KeyReplay(*ports).at(key, self._request.horizon) is None:
            raise _nothing_of(key)
        return self.document | {"key": key, "steps": made}

    def diff(self, other: str, key: str | None) -> DiffFindings:
        """Compare with ``other``, in the syntax of the option."""
        kind, _, value = other.partition(":")
        with self._progress("diff", "shards" if kind == "generation" else "events") as on_progress:
            differ = ReplayDiff(self._backends, self._projection, self._request, key, self._workers, on_progress)
            if kind == "code":
                return differ.code(Path(value))
            if kind == "generation":
                with (
                    servers_for(self._settings, FOLD_SETTINGS) as settings,
                    open_backends(settings, FOLD_SETTINGS) as backends,
                ):
                    return differ.generation(backends, _number(value, "generation"))
            return differ.as_of(_other(kind, value))

    def plot(self, other: str, key: str, minutes: int, path: Path) -> None:
        """Plot the first float column of both sides over the minutes before the later instant."""
        view = self._view("--plot")
        kind, _, value = other.partition(":")
        if kind in {"code", "generation"}:
            raise UserError("--plot shows two instants or axes; of other code see --steps in both checkouts")
        sides = [self._request.horizon, self._archive.horizon(_other(kind, value))]
        column = next(name for name, is_a in view.columns.items() if is_a == "float")
        until = max(side.at_ms for side in sides)
        ticks = range(until - minutes * 60_000, until + 1, 1_000)
        series = [
            (
                label(side),
                *StateSeries(self._backends, self._projection, side, ticks).column(key, column, self._request.limits),
            )
            for side in sides
        ]
        if not any(times for _, times, _ in series):
            raise UserError(f"{key!r} has no values in the {minutes} minutes before; give more --minutes")
        try:
            plot(path, f"{self._projection.name} of {key}", column, series)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error}; name another file with --plot") from error

    def _view(self, option: str) -> View[Any]:
        if self._projection.view is None:
            raise UserError(
                f"{option} needs a projection that serves single keys; {self._projection.name} is a table of rows"
            )
        return self._projection.view


def _nothing_of(key: str) -> UserError:
    return UserError(f"no event of {key!r} counts as of then")


def _other(kind: str, value: str) -> AsOf:
    try:
        if kind == "position":
            return AsOf.at_position(_number(value, kind))
        if kind == "known":
            return AsOf.known(time_ms(value))
        if kind == "event":
            return AsOf.happened(time_ms(value))
    except ValueError as error:
        raise UserError(f"--diff {kind}:{value}: {error}") from error
    raise UserError(f"--diff takes known:T, event:T, position:P, generation:N or code:DIR, not {kind!r}")


def _number(value: str, what: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise UserError(f"--diff {what}:N needs a number, not {value!r}")
    return int(value)


def label(horizon: Horizon) -> str:
    """Label of one side of a plot."""
    if horizon.axis == "event":
        return "as it happened (event time)"
    return "as it was known (recorded)" if horizon.axis == "known" else f"as recorded up to {horizon.position:,}"
