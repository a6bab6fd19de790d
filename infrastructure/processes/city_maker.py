"""Makes city snapshots: follows the partial tables of three projections in Redis, merges and stores them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.postgres.city_snapshots import PostgresCitySnapshots, StoredCity
from infrastructure.redis.partial_reader import RedisPartialReader
from infrastructure.redis.projection_sink import RedisSink
from infrastructure.training_sets.manifest import numeric_fingerprint
from projections.core.fences import check_fences
from projections.core.partials import MergedPartials
from projections.core.ports import EventLog
from projections.core.projection import Projection
from projections.rebuild.generations import Generation, active
from projections.replay.city import CITY_PROJECTIONS, PERMANENT_SLOTS, city_code_digest
from projections.traffic import TRAFFIC
from read_models.city.calibration import ScoreHours
from read_models.city.content import CityHours, CityParts, CityTables, TableVector, merge
from read_models.city.hours import HoursOfWeek

log = logging.getLogger("ridelog.city")


class CityNotReady(Exception):
    """A projection has no generation that this code can read. It passes once the projection runs, or is rebuilt."""


class FollowedGeneration:
    """The partial tables of one generation in Redis, kept up to date.

    ``foreign``: shards whose fences do not match the log. They count as not folded, until their refold is promoted.
    """

    def __init__(self, backends: Backends, projection: Projection[Any], generation: int) -> None:
        self.generation = generation
        self.tables = MergedPartials(PERMANENT_SLOTS[projection.name])
        self.foreign: set[int] = set()
        self._stream = projection.stream
        self._name = projection.name
        slots = projection.partial_slots
        self._reader = RedisPartialReader(backends.cache, projection.name, generation, slots)
        self._sink = RedisSink(backends.cache, projection.name, generation, partial_slots=slots)

    def update(self, event_log: EventLog) -> None:
        """Read what has changed, of the shards that match the log. Raises PortUnavailable, SinkRejected."""
        if self.foreign:
            shards = sorted(self.foreign)
            fences = dict(zip(shards, self._sink.fences(shards), strict=True))
            self.foreign = set(check_fences(event_log, self._stream, fences).mismatched)
        while True:
            self.tables.update(self._reader, [shard for shard in range(SHARDS) if shard not in self.foreign])
            # After the read: a log that was restored meanwhile is noticed too (invariant 14).
            found = check_fences(event_log, self._stream, dict(self.tables.fences)).mismatched
            if not found:
                return
            log.error("shards %s of %s do not match the log: they are left out", sorted(found), self._name)
            self.foreign |= set(found)

    def city_tables(self) -> CityTables:
        """The tables with their vector, for the merge."""
        fences = self.tables.fences
        seqs = tuple(fences[shard].seq if shard in fences else 0 for shard in range(SHARDS))
        tables = self.tables
        return CityTables(TableVector(self.generation, seqs), tables.rings.values(), tables.permanent, tables.buckets)

    def parked(self) -> list[int]:
        """The positions at which keys are parked: the later events of these keys are in no sum."""
        return sorted(position for positions in self.tables.parked.values() for position in positions)

    def has_reached(self, other: FollowedGeneration) -> bool:
        """Whether no shard is behind ``other``: so that no snapshot is older than an earlier one."""
        mine = self.tables.fences
        return all(
            shard in mine and (mine[shard].log_id != fence.log_id or mine[shard].seq >= fence.seq)
            for shard, fence in other.tables.fences.items()
        )


class CityMaker:
    """Makes one snapshot a call. After any exception, use another maker: what was read before may be outdated."""

    def __init__(self, backends: Backends, now_ms: Callable[[], int]) -> None:
        self._backends = backends
        self._now_ms = now_ms
        self._cities = PostgresCitySnapshots(backends.engine, backends.settings.city_snapshots_keep)
        self._followed: dict[str, FollowedGeneration] = {}
        self._next: dict[str, FollowedGeneration] = {}
        self._hours = CityHours()
        self._week_of: FollowedGeneration | None = None
        self._scores_of: FollowedGeneration | None = None

    def make(self) -> StoredCity:
        """Read, merge and store. Raises CityNotReady, PortUnavailable, SinkRejected."""
        generations = self._backends.generations.all_by_projection()
        of_each = [
            self._updated(projection, active(generations.get(projection.name, []))) for projection in CITY_PROJECTIONS
        ]
        traffic, _, calibration = of_each
        if self._week_of is not traffic:
            self._hours.week, self._week_of = HoursOfWeek(), traffic
        if self._scores_of is not calibration:
            self._hours.scores, self._scores_of = ScoreHours(), calibration
        self._hours.week.update(traffic.tables.permanent, traffic.tables.changed)
        scores = calibration.tables
        self._hours.scores.update(scores.permanent, scores.buckets, scores.changed)
        for followed in of_each:
            followed.tables.changed.clear()
        parked = {one.name: followed.parked() for one, followed in zip(CITY_PROJECTIONS, of_each, strict=True)}
        log_id = str(self._backends.log.head(TRAFFIC.stream).log_id)
        parts = CityParts(*(followed.city_tables() for followed in of_each))
        content = merge(log_id, self._now_ms(), parts, self._hours)
        return self._cities.store(content, numeric_fingerprint(), city_code_digest(), parked)

    def has_all(self, city: StoredCity) -> bool:
        """Whether ``city`` has every event of the log, and was merged from the generations that are active now.

        Raises PortUnavailable, SinkRejected.
        """
        generations = self._backends.generations.all_by_projection()
        heads = {stream: self._backends.log.head(stream) for stream in {one.stream for one in CITY_PROJECTIONS}}
        for projection in CITY_PROJECTIONS:
            live, vector = active(generations.get(projection.name, [])), city.vectors[projection.name]
            head = heads[projection.stream]
            if live is None or live.number != vector.generation:
                return False
            # A shard that was left out, since it does not match the log, has 0 in the vector.
            if head.log_id != city.log_id or tuple(head.seqs) != vector.seqs:
                return False
        return True

    def foreign_shards(self) -> int:
        """Shards that the last snapshot left out, because they do not match the log."""
        return sum(len(followed.foreign) for followed in self._followed.values())

    def _updated(self, projection: Projection[Any], live: Generation | None) -> FollowedGeneration:
        """The generation to read, up to date: the active one, once it has reached the one that was read before."""
        name, event_log = projection.name, self._backends.log
        if live is None:
            raise CityNotReady(f"{name} has no generation yet: its process has not run")
        if not live.is_of(projection):
            raise CityNotReady(
                f"generation {live.number} of {name} was folded by other code: rebuild-projection {name}"
            )
        held = self._followed.get(name)
        if held is not None:
            held.update(event_log)
        if held is None or held.generation != live.number:
            following = self._next.get(name)
            if following is None or following.generation != live.number:
                following = self._next[name] = FollowedGeneration(self._backends, projection, live.number)
            following.update(event_log)
            if held is None or following.has_reached(held):
                held = self._followed[name] = self._next.pop(name)
        return held
