"""The first event that makes the difference between two horizons of one key: both folded side by side."""

from __future__ import annotations

from typing import Any

from projections.checkpoints import EVERY, Checkpoints
from projections.folding import Decode
from projections.ports import LoggedEvent
from projections.protocol import Projection
from projections.replay.archive import Archive
from projections.replay.as_of import Horizon, upto
from projections.replay.difference import Since, differing
from projections.replay.happened import HappenedEvents
from projections.replay.key import KeyReplay
from read_models.view import Limits

MOST = 5_000
"""Events of one key that are folded twice to find it; a difference that is older is told as "before" them."""

_LIMITS = Limits()


def first_difference(
    projection: Projection[Any],
    archive: Archive,
    checkpoints: Checkpoints,
    decode: Decode,
    key: str,
    left: Horizon,
    right: Horizon,
) -> Since | None:
    """From which event on the values of the two differ to the end; None if they do not. Version 0: before all that
    was looked at. Raises Unresolvable if events that are needed were detached."""
    view = projection.view
    assert view is not None
    last = archive.last_version(projection.stream, key, max(left.position, right.position))
    first = max(0, last - MOST)
    if left.happened_by_ms == right.happened_by_ms:
        # The same events up to the earlier of the two: only what lies between can differ.
        first = max(first, archive.last_version(projection.stream, key, min(left.position, right.position)))
    if first == last:
        return None
    replay = KeyReplay(projection, archive, checkpoints, decode)
    runs = [replay.run_from(key, first, side) for side in (left, right)]
    at_ms = max(left.at_ms, right.at_ms)
    happened = HappenedEvents(archive, decode)

    def differ() -> bool:
        rows = [None if r.state is None else view.row(key, view.features(r.state), at_ms, _LIMITS, True) for r in runs]
        return bool(differing(rows[0], rows[1], view.columns))

    found = Since(0, 0, "before") if differ() else None
    for after in range(first, last, EVERY):
        chunks = [_counting(projection, happened, key, side, after, min(after + EVERY, last)) for side in (left, right)]
        every = {event.version: event for chunk in chunks for event in chunk.values()}
        for version, event in sorted(every.items()):
            counts = [version in chunk for chunk in chunks]
            for run, counted in zip(runs, counts, strict=True):
                if counted:
                    run.take([event])
            if not differ():
                found = None
            elif found is None:
                found = Since(version, event.position, "both" if all(counts) else "left" if counts[0] else "right")
    return found


def _counting(
    projection: Projection[Any], happened: HappenedEvents, key: str, side: Horizon, after: int, until: int
) -> dict[int, LoggedEvent]:
    """The events of a range that count on one side, by version."""
    events, _ = upto(happened.key_range(projection.stream, key, after, until, side.happened_by_ms), side.position)
    return {event.version: event for event in events}
