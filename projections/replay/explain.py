"""Explains the values of a key: the events that count, the weight of each, and those that came too late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from domain.events.contracts import FrameError, UndecodableError, split_frame
from projections.core.fold import Decode
from projections.core.ports import LoggedEvent, ParkedEvent
from projections.core.snapshots import SNAPSHOT_INTERVAL, StateSnapshots
from projections.replay.as_of import Horizon, upto
from projections.replay.event_axis import HappenedEvents
from projections.replay.key_replay import KeyReplay
from projections.replay.source import ReplaySource
from read_models.view import ViewLimits

_LIMITS = ViewLimits()
ID = "event_id"


class Explained(NamedTuple):
    """The explanation of one key.

    ``window`` has the events that the state holds, in its order: each with its weight or the reason of its rejection,
    and its place in the log. ``too_late`` has those among the latest ``looked_at`` events that changed nothing, because
    later ones were known already. ``state`` is None if nothing could be folded.
    """

    state: Any
    parked: ParkedEvent | None
    window: list[dict[str, Any]]
    too_late: list[dict[str, Any]]
    looked_at: int


def explain(
    source: ReplaySource[Any],
    snapshots: StateSnapshots | None,
    key: str,
    horizon: Horizon,
) -> Explained | None:
    """Explain the key as of ``horizon``; None if no event of it counts.

    Folds its latest SNAPSHOT_INTERVAL events one by one, without the discarded ones. Raises Unresolvable if the first
    of them were detached.
    """
    projection, archive, decode = source.projection, source.archive, source.decode
    view = projection.view
    assert view is not None
    assert view.explain is not None
    replay = KeyReplay(source, snapshots)
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
        run.fold([event])
        described = _described(event, decode)
        name = str(described.get(ID, "")).replace("-", "")
        if not name or run.state is None or event.event_type != "GpsPing":
            continue
        placed[name] = described
        if name not in {entry[ID] for entry in view.explain(run.state)}:
            late.append(described)
    window = [_entry(entry, placed.get(entry[ID], {})) for entry in view.explain(found.state)]
    return Explained(found.state, found.parked, window, late, len(events))


def _described(event: LoggedEvent, decode: Decode) -> dict[str, Any]:
    """The event's place in the log, and its own fields as far as it can be decoded."""
    described: dict[str, Any] = {"version": event.version, "position": event.position}
    try:
        described["schema_id"] = split_frame(event.payload)[0]
        data = decode(event.payload)
    except (FrameError, UndecodableError) as error:
        return described | {"unreadable": str(error)}
    received = data.get("received_timestamp_ms") or None
    t_ms = data.get("event_timestamp_ms")
    late_ms = received - t_ms if received is not None and t_ms is not None else None
    return described | {ID: data.get(ID), "event_timestamp_ms": t_ms, "received_late_ms": late_ms}


def _entry(entry: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    names = ("version", "position", "schema_id", "received_late_ms")
    return {**entry, **{name: described.get(name) for name in names}}
