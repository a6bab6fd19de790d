"""Folds the events of one shard by key. An event that fails parks its key and stops no other key (invariant 10).

Pure, except for ``decode``, which may query the registry for an unknown schema.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from domain.events.contracts import UndecodableError
from domain.features.event_time import effective_time_ms
from domain.features.keyed_event import KeyedEvent
from domain.features.partials import MAX_AMOUNT, PartialDelta, PartialSlot, PartialTable, collect
from projections.core.ports import LoggedEvent, ParkedEvent, ParkedKind
from projections.core.projection import Projection
from projections.core.snapshots import SNAPSHOT_INTERVAL, StateSnapshot
from read_models.rows import RowChange, merged

S = TypeVar("S")
Decode = Callable[[bytes], Mapping[str, Any]]
"""Payload -> record. Raises UndecodableError for bytes that no schema can read; any other error is transient."""

REASON_CHARS = 500
NO_SNAPSHOTS = 1 << 62
"""A snapshot interval that no version reaches, so that no snapshot is made."""


class FoldedShard(NamedTuple, Generic[S]):
    """The new ``states`` of the keys that changed, also ``encoded``; ``newest_ms`` is their newest effective time.

    ``snapshots``: the states at every SNAPSHOT_INTERVALth version of a key.
    """

    states: Mapping[str, S]
    encoded: Mapping[str, bytes]
    rows: Sequence[RowChange]
    parked: Mapping[str, ParkedEvent]
    newest_ms: int
    snapshots: Sequence[StateSnapshot] = ()
    partials: Mapping[int, PartialSlot] = {}


class Fold(Generic[S]):
    """Runs the fold of a projection over events of the log."""

    def __init__(
        self, projection: Projection[S], decode: Decode, now_ms: Callable[[], int], every: int = SNAPSHOT_INTERVAL
    ) -> None:
        self.projection = projection
        self._decode = decode
        self._now_ms = now_ms
        # Rows and partials are sums over the whole stream: they cannot be resumed from a state alone.
        self._every = every if projection.starts_at_snapshots else NO_SNAPSHOTS

    def run(
        self,
        events: Sequence[LoggedEvent],
        get: Callable[[str], S | None],
        parked_before: Container[str],
        discarded: Container[int],
    ) -> FoldedShard[S]:
        """Fold ``events`` in order onto the states that ``get`` returns (None: the key is new).

        A key is parked at its first event that cannot be decoded or folded, or whose state cannot be encoded. Keys in
        ``parked_before`` and positions in ``discarded`` are skipped. Raises what ``decode`` raises if the registry is
        unavailable: that is transient, and parks no key.
        """
        try:
            return self._fold_all(events, get, parked_before, discarded, encode_each=False)
        except _UnwritableState:
            # Encode after each event to find the one that fails. Doing so for every batch would cost 50 % more.
            return self._fold_all(events, get, parked_before, discarded, encode_each=True)

    def _fold_all(
        self,
        events: Sequence[LoggedEvent],
        get: Callable[[str], S | None],
        parked_before: Container[str],
        discarded: Container[int],
        *,
        encode_each: bool,
    ) -> FoldedShard[S]:
        """Fold all of ``events``. Raises _UnwritableState, unless ``encode_each`` shows which event is the cause."""
        projection, decode, fold, changes = self.projection, self._decode, self.projection.fold, self.projection.changes
        encode, initial, has_rows = projection.encode, projection.initial, bool(projection.tables)
        states: dict[str, S] = {}
        partials, partial_slots = projection.partials, projection.partial_slots
        rows: dict[str, list[RowChange]] = {}
        sums: PartialTable = {}
        parked: dict[str, ParkedEvent] = {}
        newest_ms, every = 0, self._every
        snapshots: list[StateSnapshot] = []
        for event in events:
            position, _, _, key, version, event_type, payload = event
            if key in parked or key in parked_before or position in discarded:
                continue
            kind: ParkedKind = "decode"
            try:
                data = decode(payload)
                kind = "fold"
                old = states.get(key)
                if old is None:
                    old = get(key)
                    if old is None:
                        old = initial
                new = fold(old, KeyedEvent(key, version, position, event_type, data))
                new_rows = changes(key, new) if has_rows else ()
                deltas = () if partials is None else _checked(partials(old, new), partial_slots)
                kind = "refused"
                written = encode(new) if encode_each or version % every == 0 else b""
            except Exception as error:
                if kind == "decode" and not isinstance(error, UndecodableError):
                    raise
                if kind == "refused" and not encode_each:
                    raise _UnwritableState from error
                parked[key] = parked_event(event, kind, error, self._now_ms())
                continue
            states[key] = new
            if deltas:
                collect(sums, deltas)
            if has_rows:
                rows.setdefault(key, []).extend(new_rows)
            elif version % every == 0:
                snapshots.append(StateSnapshot(key, version, position, written, payload))
            at_ms = effective_time_ms(data) if "event_timestamp_ms" in data else 0
            if at_ms > newest_ms:  # noqa: PLR1730 (max() costs twice as much, and this runs for every event)
                newest_ms = at_ms
        try:
            encoded = {key: encode(state) for key, state in states.items()}
        except Exception as error:
            raise _UnwritableState from error
        changed = merged(change for of_key in rows.values() for change in of_key)
        return FoldedShard(states, encoded, changed, parked, newest_ms, snapshots, sums)

    def effective_time_ms(self, event: LoggedEvent, sent_ms: int) -> int:
        """The effective time of ``event``; ``sent_ms`` if it cannot be decoded. Raises other errors of ``decode``."""
        try:
            return effective_time_ms(self._decode(event.payload))
        except (UndecodableError, KeyError):
            return sent_ms

    def rejected(self, event: LoggedEvent, error: Exception) -> ParkedEvent:
        """The parked event for an event whose result the sink's server rejects."""
        return parked_event(event, "refused", error, self._now_ms())


def _checked(deltas: Iterable[PartialDelta], slots: int) -> tuple[PartialDelta, ...]:
    """The deltas of one event. Raises ValueError for one that no sink can apply: its key is parked."""
    checked = tuple(deltas)
    for slot, bucket, field, amounts in checked:
        # A sink may store changes as lines.
        if not 0 <= slot < slots or not 0 <= bucket <= MAX_AMOUNT or not field or "\n" in field:
            raise ValueError(f"a delta of slot {slot} (of {slots}), bucket {bucket} and field {field!r} is impossible")
        if max(amounts) > MAX_AMOUNT or min(amounts) < -MAX_AMOUNT:
            raise ValueError(f"a delta of {field!r} is outside ±{MAX_AMOUNT}")
    return checked


class _UnwritableState(Exception):
    """The read model cannot encode the state of some key."""


def parked_event(event: LoggedEvent, kind: ParkedKind, error: Exception, now_ms: int) -> ParkedEvent:
    """Describe why ``event`` could not be folded; the reason names the line of a fold that raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].name}:{frames[-1].lineno}" if frames and kind == "fold" else ""
    # Postgres cannot store NUL, and an error may quote the bytes that could not be decoded.
    reason = f"{type(error).__name__}: {error}{where}".replace("\0", "\\0")[:REASON_CHARS]
    return ParkedEvent(event.seq, event.position, event.version, event.event_type, kind, reason, now_ms)
