"""Reads what one replay of one key needs, most of it with one statement, on one connection.

Each answer is that of the store: a replay that asks for something else gets it with a statement of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Engine, Row, text

from domain.features.event_time import MAX_AHEAD_MS
from domain.timestamps import epoch_ms
from infrastructure.event_store.archive import LAST, LAST_VERSION_BY, PostgresArchive
from infrastructure.event_store.log_head import NEWEST_NUMBERS
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.single_reads import SingleReads
from infrastructure.postgres.snapshots import DECIDED, PostgresStateSnapshots
from projections.core.ports import LoggedEvent
from projections.core.projection import Projection
from projections.core.snapshots import EventRange, StoredSnapshot
from projections.replay.as_of import AsOf, Horizon

MAX_POSITION: Final = 2**63 - 1

_HEAD: Final = (
    "SELECT h.log_id, n.position AS head, ARRAY(SELECT d.position FROM discarded_events d"
    "  WHERE d.projection = :projection) AS discarded,"
    # As in state snapshots, an event is the same if its version, position and payload are (invariant 14). OFFSET 0:
    # with outdated statistics the planner may prefer to read all events of the key.
    " (SELECT count(*) FROM unnest(CAST(:versions AS bigint[]), CAST(:positions AS bigint[]),"
    "  CAST(:payloads AS bytea[])) AS u(version, position, payload) CROSS JOIN LATERAL (SELECT FROM events e"
    "  WHERE e.aggregate_id = :aggregate AND e.version = u.version AND e.position = u.position"
    "  AND e.payload = u.payload OFFSET 0) known) AS same,"
)
# LIMIT: a table that was never analysed counts as 1,810 rows, and a statement of such a cost would be compiled.
_FROM_HEAD: Final = (
    f" FROM (SELECT log_id FROM log_head LIMIT 1) h CROSS JOIN LATERAL ({NEWEST_NUMBERS}) n"  # noqa: S608
    " CROSS JOIN LATERAL (SELECT coalesce(CAST(:position AS bigint), n.position) AS position) p"
)
_LAST: Final = (
    "(SELECT CASE WHEN l.position <= p.position THEN l.version ELSE"  # noqa: S608
    f" ({LAST_VERSION_BY.replace(':version', 'l.version').replace(':position', 'p.position')}) END FROM ({LAST}) l)"
)
_BY_EVENT_TIME = text(
    f"{_HEAD} {_LAST} AS last,"  # noqa: S608
    " (SELECT json_agg(json_build_array(d.version, d.position, d.happened, d.to_last, d.to_next) ORDER BY d.position)"
    f"  FROM ({DECIDED.replace(':position', 'p.position')}) d) AS decided{_FROM_HEAD}"
)
_BY_POSITION = text(
    f"{_HEAD} {_LAST} AS last, (SELECT e.recorded_at FROM events e WHERE e.position = p.position) AS recorded_at,"  # noqa: S608
    f" k.version, k.position, k.state, k.verified{_FROM_HEAD}"
    " LEFT JOIN LATERAL (SELECT c.version, c.position, c.state, c.verified FROM checkpoints c"
    "  WHERE c.projection = :projection AND c.fold_digest = :digest AND c.aggregate_id = :aggregate"
    "  AND c.position <= p.position ORDER BY c.position DESC LIMIT 1) k ON true"
)


class KeyReplayReads(NamedTuple):
    """The log and the state snapshots of one projection, for one replay of one key in one thread.

    ``discarded`` and ``has_known`` are of the moment when the horizon was resolved; ``has_known``: the log has the
    events that the caller knows.
    """

    archive: PostgresArchive
    snapshots: PostgresStateSnapshots
    horizon: Horizon
    discarded: frozenset[int]
    has_known: bool


class KeyReplayReader:
    """Opens the reads of replays of one projection. Safe to share."""

    def __init__(self, engine: Engine, projection: Projection[Any]) -> None:
        self._engine = engine
        self._projection = projection
        self._reads = SingleReads(engine)

    @contextmanager
    def opened(self, key: str, as_of: AsOf, known: Sequence[LoggedEvent]) -> Iterator[KeyReplayReads]:
        """Reads of ``key`` as of an instant, until the block ends. ``known``: events of the key.

        Raises Unresolvable, PortUnavailable.
        """
        with unavailable_as_port_error(), self._reads.held() as reads:
            archive = _KeyArchive(self._engine, self._projection, key, reads)
            snapshots = _KeySnapshots(self._engine, self._projection, reads)
            # An instant is made final in a transaction of its own: until then its position is not known. No log has a
            # position that Postgres has no type for: the archive says so.
            is_resolved_first = as_of.axis == "known" or (as_of.position or 0) > MAX_POSITION
            horizon = archive.horizon(as_of) if is_resolved_first else None
            position = as_of.position if horizon is None else horizon.position
            row = snapshots.read_start(key, as_of, position, known)
            archive.start = row
            horizon = horizon or _horizon(as_of, row) or archive.horizon(as_of)
            if row is None:
                discarded, has_known = archive.discarded(self._projection.name), not known
            else:
                discarded, has_known = frozenset(row.discarded), row.same == len(known)
            archive.horizon_position = snapshots.horizon_position = horizon.position
            yield KeyReplayReads(archive, snapshots, horizon, discarded, has_known)


def _horizon(as_of: AsOf, row: Row[Any] | None) -> Horizon | None:
    """The horizon as the archive resolves it; None where the archive must say what is wrong with it."""
    if row is None:
        return None
    log_id: UUID = row.log_id
    if as_of.axis == "event":
        position = row.head if as_of.position is None else as_of.position
        assert as_of.at_ms is not None
        return Horizon(log_id, "event", position, as_of.at_ms, as_of.at_ms) if 0 <= position <= row.head else None
    if as_of.axis != "position" or as_of.position is None or row.recorded_at is None:
        return None
    return Horizon(log_id, "position", as_of.position, None, epoch_ms(row.recorded_at))


class _KeyArchive(PostgresArchive):
    """Answers for one key from ``start``, the row that was read first, as far as it can."""

    def __init__(self, engine: Engine, projection: Projection[Any], key: str, reads: SingleReads) -> None:
        super().__init__(engine, reads=reads)
        self.start: Row[Any] | None = None
        self.horizon_position = -1
        self._projection = projection
        self._key = key

    def last_version(self, stream: str, key: str, position: int) -> int:
        asked = stream, key, position
        if self.start is None or asked != (self._projection.stream, self._key, self.horizon_position):
            return super().last_version(stream, key, position)
        # None: the log has no event of the key.
        return super().last_version(stream, key, position) if self.start.last is None else int(self.start.last)

    def discarded(self, projection: str) -> frozenset[int]:
        if self.start is None or projection != self._projection.name:
            return super().discarded(projection)
        return frozenset(self.start.discarded)


class _KeySnapshots(PostgresStateSnapshots):
    """Reads the first row of a replay, and answers from it as far as it can."""

    def __init__(self, engine: Engine, projection: Projection[Any], reads: SingleReads) -> None:
        super().__init__(engine, projection, reads=reads)
        self.horizon_position = -1
        self._asked: tuple[Any, ...] = ()
        self._start: Row[Any] | None = None

    def read_start(self, key: str, as_of: AsOf, position: int | None, known: Sequence[LoggedEvent]) -> Row[Any] | None:
        """Read what a replay asks first. None: the log has no head. Raises SQLAlchemyError."""
        by_ms = as_of.at_ms or 0
        values = self._decided_values(key, position, by_ms, by_ms + MAX_AHEAD_MS) | {
            "versions": [one.version for one in known],
            "positions": [one.position for one in known],
            "payloads": [one.payload for one in known],
        }
        statement = _BY_EVENT_TIME if as_of.axis == "event" else _BY_POSITION
        with self._single_reads.connect() as connection:
            self._start = connection.execute(statement, values).one_or_none()
        self._asked = as_of.axis, key, by_ms, by_ms + MAX_AHEAD_MS
        return self._start

    def latest(self, key: str, position: int, *, verified: bool = False) -> StoredSnapshot | None:
        axis, of_key, *_ = self._asked
        start, asked = self._start, (key, position, verified)
        if start is None or axis == "event" or asked != (of_key, self.horizon_position, False):
            return super().latest(key, position, verified=verified)
        if start.version is None:
            return None
        return StoredSnapshot(start.version, start.position, bytes(start.state), start.verified)

    def decided(self, key: str, position: int, sent_by_ms: int, sent_after_ms: int | None = None) -> list[EventRange]:
        asked = "event", key, sent_by_ms, sent_after_ms
        if self._start is None or asked != self._asked or position != self.horizon_position:
            return super().decided(key, position, sent_by_ms, sent_after_ms)
        return self._ranges(self._start.decided or ())
