"""Why a key has the values that it has: the events that count, what each weighed, and those that came too late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from domain.events.contracts import FrameError, UndecodableError, split_frame
from projections.core.fold import Decode
from projections.core.ports import LoggedEvent, ParkedEvent
from projections.core.projection import Projection
from projections.core.snapshots import SNAPSHOT_INTERVAL, StateSnapshots
from projections.replay.archive import Archive
from projections.replay.as_of import Horizon, upto
from projections.replay.event_axis import HappenedEvents
from projections.replay.key_replay import KeyReplay
from read_models.view import ViewLimits

_LIMITS = ViewLimits()
ID = "event_id"


class Explained(NamedTuple):
    """``window``: the events that the state keeps, in its order, each with its weight or why it was rejected, and its
    place in the log. ``too_late``: events among the latest ``looked_at`` that changed nothing, since later ones were
    known already. ``state`` is None if nothing could be folded."""

    state: Any
    parked: ParkedEvent | None
    window: list[dict[str, Any]]
    too_late: list[dict[str, Any]]
    looked_at: int


def explain(
    projection: Projection[Any],
    archive: Archive,
    snapshots: StateSnapshots,
    decode: Decode,
    key: str,
    horizon: Horizon,
) -> Explained | None:
    """The key as of ``horizon``; None if no event of it counts. Looks at its latest SNAPSHOT_INTERVAL events one by
    one, past those that were discarded. Raises Unresolvable if the first of them were detached."""
    view = projection.view
    assert view is not None
    assert view.explain is not None
    replay = KeyReplay(projection, archive, snapshots, decode)
    found = replay.at(key, horizon)
    if found is None or found.state is None:
        return None if found is None else Explained(None, found.parked, [], [], 0)
    last = view.row(key, view.features(found.state), horizon.at_ms, _LIMITS, True)["version"]
    happened = HappenedEvents(archive, decode)
    events = happened.key_range(projection.stream, key, max(0, last - SNAPSHOT_INTERVAL), last, horizon.happened_by_ms)
    events, _ = upto(events, horizon.position)
    run = replay.run_from(key, max(0, last - SNAPSHOT_INTERVAL), horizon)
    discarded = archive.discarded(projection.name)
    placed: dict[str, dict[str, Any]] = {}
    late: list[dict[str, Any]] = []
    for event in events:
        if event.position in discarded:
            continue
        run.take([event])
        told = _told(event, decode)
        name = str(told.get(ID, "")).replace("-", "")
        if not name or run.state is None or event.event_type != "GpsPing":
            continue
        placed[name] = told
        if name not in {entry[ID] for entry in view.explain(run.state)}:
            late.append(told)
    window = [_entry(entry, placed.get(entry[ID], {})) for entry in view.explain(found.state)]
    return Explained(found.state, found.parked, window, late, len(events))


def _told(event: LoggedEvent, decode: Decode) -> dict[str, Any]:
    """Where an event lies in the log, and what it says of itself as far as it can be read."""
    told: dict[str, Any] = {"version": event.version, "position": event.position}
    try:
        told["schema_id"] = split_frame(event.payload)[0]
        data = decode(event.payload)
    except (FrameError, UndecodableError) as error:
        return told | {"unreadable": str(error)}
    received = data.get("received_timestamp_ms") or None
    t_ms = data.get("event_timestamp_ms")
    late_ms = received - t_ms if received is not None and t_ms is not None else None
    return told | {ID: data.get(ID), "event_timestamp_ms": t_ms, "received_late_ms": late_ms}


def _entry(entry: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    names = ("version", "position", "schema_id", "received_late_ms")
    return {**entry, **{name: told.get(name) for name in names}}
