"""Audits city snapshots: merges each from the event store alone, and compares its digest with the recorded one.

The audit keeps partial tables of its own and advances them from one recorded vector of fences to the next: it folds
each event once (invariant 8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from domain.identifiers import SHARDS
from projections.core.ports import SinkRejected
from projections.digest.digest import fold_digest
from projections.parity.audit_dumps import AuditDumps, DamagedDump, NoDumps, OnIgnoredDump, is_before, why_unusable
from projections.parity.audit_limits import MAX_STATE_BYTES, FoldBudget
from projections.parity.partials_audit import DetachedEvents, MissingEvents, PartialsAudit, RewrittenLog
from projections.replay.city import PERMANENT_SLOTS, CitySources
from projections.replay.source import ReplaySource
from read_models.city.content import CityContent, CityHours, CityParts, TableVector, digest_of, encode, merge


class RecordedCity(Protocol):
    """The record of a city snapshot: all that it was merged from, and the digest of its bytes."""

    @property
    def number(self) -> int: ...

    @property
    def as_of_ms(self) -> int: ...

    @property
    def log_id(self) -> UUID: ...

    @property
    def vectors(self) -> Mapping[str, TableVector]:
        """By projection."""
        ...

    @property
    def parked(self) -> Mapping[str, frozenset[int]]:
        """By projection, the positions at which keys were parked; absent if that is not on record."""
        ...

    @property
    def digest(self) -> str: ...


class CityVerdict(StrEnum):
    """The outcome of the check of one snapshot."""

    EQUAL = "equal"
    DIFFERENT = "different"
    OTHER_CODE = "other code"
    """Other code merged it, or folded a generation that it was merged from."""
    LOG_RESTORED = "log restored"
    """The log no longer has the events that it was merged from."""
    DETACHED = "detached"
    """The beginning of the log was detached, and the tables do not have it."""
    UNDECIDED = "undecided"
    """Nothing says which keys were parked when it was made. The next snapshot decides whether the tables are right."""


class CheckedCity(NamedTuple):
    """A snapshot and its verdict. ``content``: the merge of the log at its vector; None if there is none."""

    city: RecordedCity
    verdict: CityVerdict
    content: CityContent | None = None
    why: str = ""


class CityAudit:
    """Checks recorded snapshots, best in the order of their numbers. ``on_restart`` gets the reason of each restart.

    ``confirms``: a difference that was found from a dump is checked again from the first event.
    """

    def __init__(
        self,
        sources: CitySources,
        on_restart: Callable[[str], None] = lambda reason: None,
        *,
        dumps: AuditDumps | None = None,
        on_ignored_dump: OnIgnoredDump = lambda reason: None,
        confirms: bool = False,
        max_state_bytes: int = MAX_STATE_BYTES,
    ) -> None:
        self._sources = sources
        self._archive = sources.traffic.archive
        self._on_restart = on_restart
        self._dumps = NoDumps() if dumps is None else dumps
        self._on_ignored_dump = on_ignored_dump
        self._confirms = confirms
        self._max_state_bytes = max_state_bytes
        self._log_id: UUID | None = None
        self._started = self._from_dump = False
        self._events_before = 0
        self._begin()

    @property
    def events(self) -> int:
        """Events folded so far."""
        return self._events_before + sum(tables.events for tables in self._tables.values())

    @property
    def place(self) -> int:
        """How many events of the log the tables have."""
        return sum(sum(tables.seqs) for tables in self._tables.values())

    def check(self, city: RecordedCity, budget: FoldBudget | None = None) -> CheckedCity | None:
        """Check a snapshot. Returns None if the budget ended first, or after a restart: the next call goes on.

        The audit starts at the newest dump that is not beyond the vector, else at the first event of the log. A vector
        that goes back, or another log, restarts it. Raises PortUnavailable, and what ``decode`` raises while the schema
        registry is unavailable.
        """
        if impossible := self._impossible(city):
            return CheckedCity(city, CityVerdict.DIFFERENT, why=impossible)
        if city.log_id != self._archive.head(self._sources.traffic.projection.stream).log_id:
            return CheckedCity(city, CityVerdict.LOG_RESTORED, why=f"it is of the log {city.log_id}")
        if reason := self._reason_to_restart(city):
            self._restart(reason)
        if not self._started:
            self._started = True
            for source in self._sources:
                self._start(source, city)
        self._log_id = city.log_id
        try:
            if not all(
                tables.advance(city.vectors[name], budget or FoldBudget(), city.parked.get(name))
                for name, tables in self._tables.items()
            ):
                return None
        except RewrittenLog as error:
            self._restart(str(error))
            return None
        except DetachedEvents as error:
            return CheckedCity(city, CityVerdict.DETACHED, why=str(error))
        except MissingEvents as error:
            return CheckedCity(city, CityVerdict.LOG_RESTORED, why=str(error))
        return self._compared(city)

    def store_dumps(self) -> None:
        """Store the tables as a start for later audits. Only right after a snapshot that was EQUAL: they are verified.

        Raises PortUnavailable, SinkRejected.
        """
        assert self._log_id is not None
        for source in self._sources:
            tables = self._tables[source.projection.name]
            self._dumps.store(source.projection.name, self._log_id, fold_digest(source.projection), tables.dump())

    def _start(self, source: ReplaySource[Any], city: RecordedCity) -> None:
        """Take over the newest dump of a projection that an audit up to ``city`` can start at."""
        name = source.projection.name
        for record in self._dumps.records(name):
            ignored = why_unusable(record, city.log_id, fold_digest(source.projection))
            if not ignored and not is_before(record, city.vectors[name]):
                continue
            if not ignored:
                tables = self._new_tables(source)
                try:
                    tables.restore(self._dumps.parts(name, record.number))
                    ignored = "" if tables.is_of_log() else "the log has other events at its place"
                except (DamagedDump, SinkRejected) as error:
                    ignored = str(error)
                if not ignored:
                    self._from_dump = True
                    self._tables[name] = tables
                    return
            self._on_ignored_dump(f"dump {record.number:,} of the audit of {name} is not used: {ignored}")

    def _compared(self, city: RecordedCity) -> CheckedCity | None:
        content = self._merged(city)
        if digest_of(encode(content)) == city.digest:
            return CheckedCity(city, CityVerdict.EQUAL, content)
        unknown = [tables for name, tables in self._tables.items() if name not in city.parked]
        discards = 0
        while any(tables.fold_next_discard() for tables in unknown):
            discards += 1
            content = self._merged(city)
            if digest_of(encode(content)) == city.digest:
                return CheckedCity(city, CityVerdict.EQUAL, content)
        if discards:
            return CheckedCity(city, CityVerdict.UNDECIDED, why=f"{discards} discards were recorded at about that time")
        passed = [
            position for name, tables in self._tables.items() for position in tables.passed(city.parked.get(name))
        ]
        if passed:
            why = f"keys were parked at events that were folded before, the first at position {min(passed):,}"
            return CheckedCity(city, CityVerdict.UNDECIDED, why=why)
        if not all(tables.is_of_log() for tables in self._tables.values()):
            self._restart("the log has other events than before at the place of the tables")
            return None
        if self._confirms and self._from_dump:
            # A dump is a cache: what it says against a snapshot is not taken for true.
            self._dumps = NoDumps()
            self._restart(f"snapshot {city.number:,} differs from a dump: it is checked again from the first event")
            return None
        why = f"the log gives the digest {digest_of(encode(content))}, and {city.digest} is recorded"
        return CheckedCity(city, CityVerdict.DIFFERENT, content, why)

    def _merged(self, city: RecordedCity) -> CityContent:
        traffic, _, calibration = (one.tables for one in self._tables.values())
        self._hours.week.update(traffic.permanent, traffic.changed)
        self._hours.scores.update(calibration.permanent, calibration.buckets, calibration.changed)
        for one in self._tables.values():
            one.tables.changed.clear()
        parts = CityParts(*(one.city_tables(city.vectors[name].generation) for name, one in self._tables.items()))
        return merge(str(city.log_id), city.as_of_ms, parts, self._hours)

    def _impossible(self, city: RecordedCity) -> str:
        for name in self._tables:
            vector = city.vectors.get(name)
            if vector is None:
                return f"its record has no vector of {name}"
            if len(vector.seqs) != SHARDS or min(vector.seqs) < 0:
                return f"its vector of {name} has not one seq for each of {SHARDS} shards"
        return ""

    def _reason_to_restart(self, city: RecordedCity) -> str:
        if self._log_id not in (None, city.log_id):
            return f"the log is another one: {city.log_id}"
        back = [name for name, tables in self._tables.items() if tables.is_beyond(city.vectors[name])]
        if back:
            return f"the vector of snapshot {city.number:,} goes back, in {' and '.join(back)}"
        return ""

    def _restart(self, reason: str) -> None:
        self._events_before = self.events
        self._begin()
        self._on_restart(reason)

    def _new_tables(self, source: ReplaySource[Any]) -> PartialsAudit[Any]:
        return PartialsAudit(source, PERMANENT_SLOTS[source.projection.name], self._max_state_bytes)

    def _begin(self) -> None:
        self._tables: dict[str, PartialsAudit[Any]] = {
            source.projection.name: self._new_tables(source) for source in self._sources
        }
        self._started = self._from_dump = False
        self._hours = CityHours()


def describe_city(checked: CheckedCity) -> str:
    """One line: which snapshot, its verdict, and what differs."""
    city = checked.city
    generations = ", ".join(f"{name} generation {vector.generation}" for name, vector in sorted(city.vectors.items()))
    return f"city snapshot {city.number:,} ({generations}): {checked.verdict}: {checked.why}"
