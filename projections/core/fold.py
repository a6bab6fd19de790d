"""Folds the events of one shard, key by key; an event that fails parks its key and stops nothing else (invariant 10).

Pure but for ``decode``, which may ask the registry for a schema that it has not seen.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from domain.events.contracts import UndecodableError
from domain.features.event_time import effective_time_ms
from domain.features.keyed_event import KeyedEvent
from projections.core.ports import LoggedEvent, ParkedEvent
from projections.core.projection import Projection
from projections.core.snapshots import SNAPSHOT_INTERVAL, StateSnapshot
from read_models.rows import RowChange, merged

S = TypeVar("S")
Kind = Literal["decode", "fold", "refused"]
Decode = Callable[[bytes], Mapping[str, Any]]
"""Payload -> record. Raises UndecodableError for bytes that nobody can read; anything else passes by itself."""

REASON_CHARS = 500
UNREACHED = 1 << 62
"""As the distance between checkpoints: none is made."""


class FoldedShard(NamedTuple, Generic[S]):
    """``states`` of the keys that changed, also ``encoded``; ``newest_ms`` is the newest effective time among them.

    ``checkpoints``: states on the way, at every EVERYth version of a key.
    """

    states: Mapping[str, S]
    encoded: Mapping[str, bytes]
    rows: Sequence[RowChange]
    parked: Mapping[str, ParkedEvent]
    newest_ms: int
    checkpoints: Sequence[StateSnapshot] = ()


class Fold(Generic[S]):
    """A projection's fold, with what is needed to run it over the log."""

    def __init__(
        self, projection: Projection[S], decode: Decode, now_ms: Callable[[], int], every: int = SNAPSHOT_INTERVAL
    ) -> None:
        self.projection = projection
        self._decode = decode
        self._now_ms = now_ms
        # Rows are sums over the whole stream: a state alone is no place to start them from.
        self._every = every if not projection.tables else UNREACHED

    def run(
        self,
        events: Sequence[LoggedEvent],
        get: Callable[[str], S | None],
        parked_before: Container[str],
        discarded: Container[int],
    ) -> FoldedShard[S]:
        """Fold ``events`` in their order onto the states that ``get`` has (None: the key is new).

        A key is parked at its first event that cannot be decoded or folded, or that leads to a state which cannot be
        encoded. Keys in ``parked_before`` and ``discarded`` positions are passed over. Raises what ``decode`` raises
        for a registry that is away: that passes, and parks nobody.
        """
        try:
            return self._pass(events, get, parked_before, discarded, encode_each=False)
        except _UnwritableState:
            # Which event it was shows only event by event; every batch that way would cost half as much again.
            return self._pass(events, get, parked_before, discarded, encode_each=True)

    def _pass(
        self,
        events: Sequence[LoggedEvent],
        get: Callable[[str], S | None],
        parked_before: Container[str],
        discarded: Container[int],
        *,
        encode_each: bool,
    ) -> FoldedShard[S]:
        """All of ``events``. Raises _Unwritable, unless each state is encoded and its event told by that."""
        projection, decode, fold, changes = self.projection, self._decode, self.projection.fold, self.projection.changes
        encode, initial, rows_are_kept = projection.encode, projection.initial, bool(projection.tables)
        states: dict[str, S] = {}
        rows: dict[str, list[RowChange]] = {}
        parked: dict[str, ParkedEvent] = {}
        newest_ms, every = 0, self._every
        checkpoints: list[StateSnapshot] = []
        for event in events:
            position, _, _, key, version, event_type, payload = event
            if key in parked or key in parked_before or position in discarded:
                continue
            kind: Kind = "decode"
            try:
                data = decode(payload)
                kind = "fold"
                old = states.get(key)
                if old is None:
                    old = get(key)
                    if old is None:
                        old = initial
                new = fold(old, KeyedEvent(key, version, position, event_type, data))
                made = changes(key, new) if rows_are_kept else ()
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
            if rows_are_kept:
                rows.setdefault(key, []).extend(made)
            elif version % every == 0:
                checkpoints.append(StateSnapshot(key, version, position, written, payload))
            at_ms = effective_time_ms(data) if "event_timestamp_ms" in data else 0
            if at_ms > newest_ms:  # noqa: PLR1730 (max() costs twice as much, and this runs for every event)
                newest_ms = at_ms
        try:
            encoded = {key: encode(state) for key, state in states.items()}
        except Exception as error:
            raise _UnwritableState from error
        changed = merged(change for kept in rows.values() for change in kept)
        return FoldedShard(states, encoded, changed, parked, newest_ms, checkpoints)

    def effective_time_ms(self, event: LoggedEvent, sent_ms: int) -> int:
        """When ``event`` happened; as it was sent, if it cannot be decoded. Raises what ``decode`` raises otherwise."""
        try:
            return effective_time_ms(self._decode(event.payload))
        except (UndecodableError, KeyError):
            return sent_ms

    def refused(self, event: LoggedEvent, error: Exception) -> ParkedEvent:
        """The mark for an event whose result the sink's server refuses."""
        return parked_event(event, "refused", error, self._now_ms())


class _UnwritableState(Exception):
    """Some key comes to a state that its read model cannot write down."""


def parked_event(event: LoggedEvent, kind: Kind, error: Exception, now_ms: int) -> ParkedEvent:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].name}:{frames[-1].lineno}" if frames and kind == "fold" else ""
    # NUL cannot be stored by Postgres, and an error may quote the very bytes that could not be read.
    reason = f"{type(error).__name__}: {error}{where}".replace("\0", "\\0")[:REASON_CHARS]
    return ParkedEvent(event.seq, event.position, event.version, event.event_type, kind, reason, now_ms)
