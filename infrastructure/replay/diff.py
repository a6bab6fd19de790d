"""Compares a replay with that of another instant, axis or code version, or with a stored generation."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from domain.identifiers import SHARDS, shard_of
from infrastructure.backends import Backends
from infrastructure.errors import UserError
from infrastructure.replay.all_keys import OnProgress, merged_rows, replay_all
from infrastructure.replay.other_checkout import OtherCheckout
from infrastructure.replay.request import ReplayRequest, values
from projections.core.projection import Projection
from projections.core.state_codec import BrokenState, decoded
from projections.replay.as_of import AsOf, Horizon
from projections.replay.diff import (
    DifferenceStart,
    ReplayDifference,
    Row,
    ShardKey,
    differing_columns,
    first_difference,
    pair_by_key,
)
from projections.replay.key_replay import KeyReplay, steps
from projections.replay.shard_replay import replay_shard

MAX_COMPARED_STEPS = 1_000
"""Latest events of a key over which two versions of the code are compared, to find where they diverge."""
MAX_EXPLAINED_KEYS = 5
"""Keys for which that is done: it replays each of them by both versions."""


class DiffFindings(NamedTuple):
    """The difference, a description of both sides, and the first event from which each example differs."""

    left: str
    right: str
    difference: ReplayDifference
    first: dict[str, DifferenceStart | None]


class ReplayDiff:
    """Compares this code as of the request, the left side, with a right side; each method is one kind of right side.

    ``key``: compare only that key; None: all.
    """

    def __init__(
        self,
        backends: Backends,
        projection: Projection[Any],
        request: ReplayRequest,
        key: str | None,
        workers: int,
        on_progress: OnProgress,
    ) -> None:
        if projection.view is None:
            raise UserError(
                f"{projection.name} is a table of rows; compare two builds of it with rebuild-projection --verify-only"
            )
        self._view = projection.view
        self._settings = backends.settings
        self._source = backends.replay_source(projection)
        self._projection = projection
        self._request = request
        self._key = key
        self._workers = workers
        self._on_progress = on_progress
        self._archive = backends.archive
        self._snapshots = backends.snapshots(projection)
        self._description = describe_horizon(request.horizon)

    def as_of(self, other: AsOf) -> DiffFindings:
        """Compare with the same code as of another instant, axis or position. Raises Unresolvable."""
        right = self._archive.horizon(other)
        left = self._request.horizon
        theirs = self._request._replace(horizon=right)
        found = self._pairs(self._rows(self._request), self._rows(theirs))
        ours = (self._source, self._snapshots)
        first = {e.key: first_difference(*ours, e.key, left, right) for e in found.examples}
        return DiffFindings(self._description, describe_horizon(right), found, first)

    def code(self, folder: Path) -> DiffFindings:
        """Compare with the code of another checkout, as of the same horizon."""
        other, mine = OtherCheckout(folder, self._settings), self._request
        with tempfile.TemporaryDirectory() as temporary:
            if self._key is None:
                theirs = other.rows(mine, self._workers, Path(temporary) / "other.parquet")
            else:
                # For one key, steps are cheaper than a full replay. They show expired values, so this side must too.
                mine = mine._replace(allow_expired=True)
                theirs = iter(r["row"] for r in other.steps(mine.projection, self._key, mine.horizon, 1))
            found = self._pairs(self._rows(mine), ((_place(row), row) for row in theirs))
        first = {e.key: self._divergence(other, e.key) for e in found.examples[:MAX_EXPLAINED_KEYS]}
        return DiffFindings(
            f"this code, {self._description}", f"the code in {folder}, {self._description}", found, first
        )

    def generation(self, backends: Backends, number: int) -> DiffFindings:
        """Compare with what a generation stores, each shard at its fence."""
        sink = backends.stores.sink(self._projection, number)
        found = ReplayDifference()
        head = self._archive.horizon(AsOf.at_position(self._archive.head(self._projection.stream).position))
        at_ms = self._request.horizon.at_ms
        for shard in range(SHARDS) if self._key is None else [shard_of(self._key)]:
            stored = sink.dump(shard)
            seq = 0 if stored.fence is None else stored.fence.seq
            if stored.fence is not None and stored.fence.position > head.position:
                # A service is running: events that this shard has folded since are no difference.
                head = self._archive.horizon(AsOf.at_position(stored.fence.position))
            mine = replay_shard(self._source, shard, head, upto_seq=seq)
            for key in sorted(stored.states.keys() | mine.states.keys()) if self._key is None else [self._key]:
                ours = values(self._view, self._request, key, mine.states[key]) if key in mine.states else None
                theirs = self._stored(key, stored.states.get(key), at_ms)
                found.add(key, ours, theirs, self._view.columns)
            self._on_progress(shard + 1, SHARDS)
        if not found.compared and self._key is not None:
            raise self._nothing()
        if not found.compared:
            raise UserError(f"generation {number} of {self._projection.name} stores nothing: see `generations`")
        return DiffFindings(
            "this code at the fences of the generation", f"generation {number} as it is stored", found, {}
        )

    def _stored(self, key: str, state: bytes | None, at_ms: int) -> Row | None:
        if state is None:
            return None
        try:
            found = decoded(self._projection, state)
        except BrokenState as error:
            raise UserError(
                f"this code cannot read the states of that generation ({error}): compare by --diff code:DIR instead"
            ) from error
        return values(self._view, self._request, key, found)

    def _rows(self, request: ReplayRequest) -> Iterator[tuple[ShardKey, Row]]:
        if self._key is not None:
            replay = KeyReplay(self._source, self._snapshots)
            found = replay.at(self._key, request.horizon)
            if found is not None and found.state is not None:
                mine = values(self._view, request, self._key, found.state)
                yield _place(mine), mine
            return
        with tempfile.TemporaryDirectory() as folder:
            output = replay_all(
                self._settings, self._projection, request, Path(folder), self._workers, self._on_progress
            )
            for row in merged_rows(self._projection, output, self._projection.name):
                yield _place(row), row

    def _pairs(self, left: Iterator[tuple[ShardKey, Row]], right: Iterator[tuple[ShardKey, Row]]) -> ReplayDifference:
        found = ReplayDifference()
        for key, ours, theirs in pair_by_key(left, right):
            found.add(key, ours, theirs, self._view.columns)
        if not found.compared and self._key is not None:
            raise self._nothing()
        return found

    def _nothing(self) -> UserError:
        return UserError(f"no event of {self._key!r} counts on either side")

    def _divergence(self, other: OtherCheckout, key: str) -> DifferenceStart | None:
        horizon, name = self._request.horizon, self._projection.name
        ours = (self._source, self._snapshots)
        mine = {s.version: s for s in steps(*ours, key, horizon, MAX_COMPARED_STEPS, self._request.limits)}
        found: DifferenceStart | None = None
        for step in other.steps(name, key, horizon, MAX_COMPARED_STEPS):
            if step["version"] not in mine:
                continue
            if not differing_columns(mine[step["version"]].row, step["row"], self._view.columns):
                found = None
            elif found is None:
                found = DifferenceStart(step["version"], step["position"], "both")
        return found


def describe_horizon(horizon: Horizon) -> str:
    """The horizon as text for people."""
    if horizon.axis == "position":
        return f"position {horizon.position:,}"
    bound = "known by" if horizon.axis == "known" else "happened by"
    return f"{bound} {horizon.at_ms} (position {horizon.position:,})"


def _place(row: Row) -> ShardKey:
    return shard_of(row["rider_id"]), row["rider_id"]
