"""Folds the events of one shard, key by key; an event that fails parks its key and stops nothing else (invariant 10).

Pure but for ``decode``, which may ask the registry for a schema that it has not seen.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from domain.contracts import UndecodableError
from domain.features.keyed_event import KeyedEvent
from projections.checkpoints import EVERY, Checkpoint
from projections.ports import LoggedEvent, Parked
from projections.protocol import Projection
from read_models.rows import RowChange, merged

S = TypeVar("S")
Decode = Callable[[bytes], Mapping[str, Any]]
"""Payload -> record. Raises UndecodableError for bytes that nobody can read; anything else passes by itself."""

REASON_CHARS = 500
UNREACHED = 1 << 62
"""As the distance between checkpoints: none is made."""


class Folded(NamedTuple, Generic[S]):
    """``states`` of the keys that changed, also ``encoded``; ``newest_ms`` is the newest event time among them.

    ``checkpoints``: states on the way, at every EVERYth version of a key.
    """

    states: Mapping[str, S]
    encoded: Mapping[str, bytes]
    rows: Sequence[RowChange]
    parked: Mapping[str, Parked]
    newest_ms: int
    checkpoints: Sequence[Checkpoint] = ()


class Fold(Generic[S]):
    """A projection's fold, with what is needed to run it over the log."""

    def __init__(
        self, projection: Projection[S], decode: Decode, now_ms: Callable[[], int], every: int = EVERY
    ) -> None:
        self.projection = projection
        self._decode = decode
        self._now_ms = now_ms
        # Rows are sums over the whole stream: a state alone is no place to start them from.
        self._every = every if not projection.tables else UNREACHED

    def run(
        self,
        events: Iterable[LoggedEvent],
        get: Callable[[str], S | None],
        parked_before: Container[str],
        discarded: Container[int],
    ) -> Folded[S]:
        """Fold ``events`` in their order onto the states that ``get`` has (None: the key is new).

        Keys in ``parked_before`` and ``discarded`` positions are passed over. Raises what ``decode`` raises for a
        registry that is away: that passes, and parks nobody.
        """
        projection, decode, fold, changes = self.projection, self._decode, self.projection.fold, self.projection.changes
        initial, rows_are_kept = projection.initial, bool(projection.tables)
        states: dict[str, S] = {}
        rows: dict[str, list[RowChange]] = {}
        last: dict[str, LoggedEvent] = {}
        parked: dict[str, Parked] = {}
        newest_ms, every = 0, self._every
        checkpoints: list[Checkpoint] = []
        for event in events:
            position, _, _, key, version, event_type, payload = event
            if key in parked or key in parked_before or position in discarded:
                continue
            kind: Literal["decode", "fold"] = "decode"
            try:
                data = decode(payload)
                kind = "fold"
                old = states.get(key)
                if old is None:
                    old = get(key)
                    if old is None:
                        old = initial
                new = fold(old, KeyedEvent(key, version, position, event_type, data))
                if rows_are_kept:
                    rows.setdefault(key, []).extend(changes(key, new))
                elif version % every == 0:
                    checkpoints.append(Checkpoint(key, version, position, projection.encode(new), payload))
            except Exception as error:
                if kind == "decode" and not isinstance(error, UndecodableError):
                    raise
                parked[key] = mark(event, kind, error, self._now_ms())
                continue
            states[key] = new
            last[key] = event
            at_ms = data.get("event_timestamp_ms", 0)
            if at_ms > newest_ms:  # noqa: PLR1730 (max() costs twice as much, and this runs for every event)
                newest_ms = at_ms
        encoded: dict[str, bytes] = {}
        for key, state in states.items():
            try:
                encoded[key] = projection.encode(state)
            except Exception as error:
                raise Unencodable(last[key], error) from error
        changed = merged(r for kept in rows.values() for r in kept)
        return Folded(states, encoded, changed, parked, newest_ms, checkpoints)

    def refused(self, event: LoggedEvent, error: Exception) -> Parked:
        """The mark for an event whose result the sink's server refuses."""
        return mark(event, "refused", error, self._now_ms())


class Unencodable(Exception):
    """A folded state that its read model cannot write down; the event is the last one of its key."""

    def __init__(self, event: LoggedEvent, cause: Exception) -> None:
        super().__init__(f"{event.key}: {cause!r}")


def mark(event: LoggedEvent, kind: Literal["decode", "fold", "refused"], error: Exception, now_ms: int) -> Parked:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].name}:{frames[-1].lineno}" if frames and kind == "fold" else ""
    # NUL cannot be stored by Postgres, and an error may quote the very bytes that could not be read.
    reason = f"{type(error).__name__}: {error}{where}".replace("\0", "\\0")[:REASON_CHARS]
    return Parked(event.seq, event.position, event.version, event.event_type, kind, reason, now_ms)
