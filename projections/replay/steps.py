"""The values of one key after each of its latest events: to follow them, and to hold another fold against them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from projections.checkpoints import EVERY, Checkpoints
from projections.folding import Decode
from projections.protocol import Projection
from projections.replay.archive import Archive
from projections.replay.as_of import Horizon, upto
from projections.replay.happened import HappenedEvents
from projections.replay.key import KeyReplay
from read_models.view import Limits


class Step(NamedTuple):
    """An event of the key, and its row right after it (ages relative to the horizon)."""

    version: int
    position: int
    row: dict[str, Any]


def steps(
    projection: Projection[Any],
    archive: Archive,
    checkpoints: Checkpoints,
    decode: Decode,
    key: str,
    horizon: Horizon,
    latest: int,
    limits: Limits,
) -> Iterator[Step]:
    """After each of the ``latest`` events within ``horizon``, in the order of the log. Raises Unresolvable."""
    view = projection.view
    assert view is not None
    replay = KeyReplay(projection, archive, checkpoints, decode)
    found = replay.at(key, horizon)
    if found is None or found.state is None:
        return
    last = int(view.row(key, view.features(found.state), horizon.at_ms, limits, True)["version"])
    first = max(0, last - latest)
    run = replay.run_from(key, first, horizon)
    happened = HappenedEvents(archive, decode)
    for after in range(first, last, EVERY):
        chunk = happened.key_range(projection.stream, key, after, min(after + EVERY, last), horizon.happened_by_ms)
        for event in upto(chunk, horizon.position)[0]:
            run.take([event])
            if run.state is not None:
                row = view.row(key, view.features(run.state), horizon.at_ms, limits, True)
                yield Step(event.version, event.position, row)
