"""Blue/green rebuild: fills a new generation next to the live one, compares the two, and only then switches readers.

Every step can be aborted and resumed: the fences in the sink and the generation's state are all that is stored.
"""

from __future__ import annotations

from typing import Any

from domain.identifiers import SHARDS
from projections.core.fences import check_fences
from projections.core.ports import FenceConflict, Sink
from projections.core.projection import Projection
from projections.core.shard_processor import ProcessorLimits, ShardProcessor
from projections.rebuild.catch_up import CatchUp
from projections.rebuild.comparison import GenerationComparison
from projections.rebuild.generations import Generation, GenerationState, NotSwitched, active
from projections.rebuild.rebuild_outcome import (
    DigestMismatch,
    NoGenerationToRollBackTo,
    RebuildOutcome,
    RebuildParkedKey,
    RebuildVerdict,
)
from projections.rebuild.rebuild_ports import RebuildPorts

_ALL = range(SHARDS)
MAX_COMPARE_ATTEMPTS = 1_000
MAX_LEFTOVER_GENERATIONS = 5
"""Numbers below the new generation that are dropped again after a rebuild, in case a killed one dropped only a part."""


class Rebuild:
    """Rebuilds one projection. The caller holds a lock, so that no other process rebuilds it at the same time."""

    def __init__(self, projection: Projection[Any], ports: RebuildPorts) -> None:
        self._projection = projection
        self._ports = ports
        self._retrying = ports.retry_policy.call

    def run(
        self, *, accept: str | None = None, live_is_damaged: str | None = None, verify_only: bool = False
    ) -> RebuildOutcome:
        """Fill, compare, switch. Raises DigestMismatch and permanent errors; nothing is switched then.

        ``accept`` is the digest of the differences that a new fold version is meant to make. ``live_is_damaged`` is the
        digest of the differences that the same code makes, if a person has found that the live generation is wrong.
        """
        outcome = self.prepare(accept=accept, live_is_damaged=live_is_damaged, verify_only=verify_only)
        return self.switch_prepared(outcome) if outcome.ready else outcome

    def prepare(
        self, *, accept: str | None = None, live_is_damaged: str | None = None, verify_only: bool = False
    ) -> RebuildOutcome:
        """Fill and compare, and record whether readers may be switched. Raises as ``run``; switches nothing."""
        ports = self._ports
        self._retrying(lambda: ports.generations.first(self._projection))
        live = self._live()
        new = self._resume_or_create(live, accept, live_is_damaged, verify_only)
        if new.state != "filling":
            self._retrying(lambda: ports.generations.record(new, "ready", new.comparison))
            return RebuildOutcome(RebuildVerdict.EQUAL, live, new, None, self._parked(new), ready=True)
        ports.on_progress(f"filling generation {new.number} from the event store, next to the live {live.number}")
        targets = self._retrying(lambda: self._fences_of(live))
        ports.fill(new, targets)
        comparison = self.compare(live, new)
        verdict = RebuildVerdict.EQUAL if comparison.clean else RebuildVerdict.DIFFERS
        outcome = RebuildOutcome(verdict, live, new, comparison, self._parked(new))
        if verify_only:
            self._drop(new)
            return outcome
        outcome.ready = comparison.clean or self._accepted(comparison, accept, live_is_damaged, outcome)
        state: GenerationState = "ready" if outcome.ready else "compared"
        self._retrying(lambda: ports.generations.record(new, state, comparison.document()))
        return outcome

    def switch_prepared(self, outcome: RebuildOutcome) -> RebuildOutcome:
        """Switch readers to the ready generation of ``outcome``, and drop those of before. Raises NotSwitched."""
        self.switch(outcome.live, outcome.new)
        outcome.verdict = RebuildVerdict.SWITCHED
        self._drop_others(outcome.live, outcome.new)
        return outcome

    def _drop_others(self, live: Generation, new: Generation) -> None:
        """Drop all generations but these two, also those that a killed rebuild has dropped only in part."""
        kept = (live.number, new.number)
        for old in self._all():
            if old.number not in kept:
                self._drop(old)
        for number in range(max(1, new.number - MAX_LEFTOVER_GENERATIONS), new.number):
            if number not in kept:
                self._clear(number)

    def switch_to(self, number: int, digest: str | None = None) -> RebuildOutcome:
        """Switch readers to a generation that ``prepare`` has left, as ``run`` would. Never fills another one.

        ``digest``: that of its differences, if a person accepts them. Raises NotSwitched, DigestMismatch.
        """
        live, new = self._live(), self._named(number)
        if new.state not in ("compared", "ready") or not new.is_of(self._projection):
            raise NotSwitched(f"generation {number} of {self._projection.name} is {new.state}: rebuild first")
        if not self._can_resume(new, live, digest, digest, verify_only=False):
            raise NotSwitched(
                f"generation {number} of {self._projection.name} does not equal the live {live.number}, or was "
                "compared with another one: accept its differences by their digest, or rebuild again"
            )
        self._retrying(lambda: self._ports.generations.record(new, "ready", new.comparison))
        return self.switch_prepared(RebuildOutcome(RebuildVerdict.EQUAL, live, new, None, self._parked(new)))

    def drop(self, number: int) -> None:
        """Drop a generation that readers do not follow, with its content. Raises NotSwitched."""
        ports = self._ports
        if self._retrying(lambda: ports.generations.is_dropped(self._projection.name, number)):
            # It was recorded before its content was deleted: a killed drop has left content that no list shows.
            self._clear(number)
            return
        old = self._named(number)
        if old.active:
            raise NotSwitched(f"readers follow generation {number} of {self._projection.name}: switch them first")
        self._drop(old)

    def roll_back(self, to_number: int | None = None) -> RebuildOutcome:
        """Switch to the generation that is kept up to date next to the active one. Raises NoGenerationToRollBackTo.

        ``to_number``: the generation that the caller expects there; None accepts any.
        """
        live = self._live()
        kept = [g for g in self._all() if g.state == "following" and not g.active]
        if not kept:
            raise NoGenerationToRollBackTo(
                f"{self._projection.name} has only generation {live.number}: there is nothing to go back to"
            )
        to = kept[-1]
        if to_number not in (None, to.number):
            raise NoGenerationToRollBackTo(
                f"{self._projection.name} can go back to generation {to.number}, not {to_number}"
            )
        if not to.is_of(self._projection):
            raise NoGenerationToRollBackTo(
                f"generation {to.number} of {self._projection.name} was folded by version {to.fold_version} "
                f"({to.fold_digest}), which this code is not: deploy that code, and run rollback-projection there"
            )
        self.switch(live, to)
        return RebuildOutcome(RebuildVerdict.SWITCHED, live, to)

    def compare(self, live: Generation, new: Generation) -> GenerationComparison:
        """Compare the two shard by shard, each pair at the same fence. Raises FenceConflict."""
        self._ports.on_progress(f"comparing generation {new.number} with {live.number}")
        found = GenerationComparison(
            self._projection.name, live.number, new.number, live.fold_version, new.fold_version
        )
        for shard in _ALL:
            self._retrying(lambda shard=shard: self._compare_shard(found, shard, live, new))  # type: ignore[misc]
        return found

    def _compare_shard(self, found: GenerationComparison, shard: int, live: Generation, new: Generation) -> None:
        live_sink, new_sink = self._ports.sink_of(live.number), self._ports.sink_of(new.number)
        if live.is_of(self._projection):
            # Check it as its own worker would: a fence of another log cannot be compared at.
            self._fill_shard(live_sink, shard, 0)
        for _ in range(MAX_COMPARE_ATTEMPTS):
            before = live_sink.dump(shard)
            wanted = 0 if before.fence is None else before.fence.seq
            after_seq = self._fill_shard(new_sink, shard, wanted)
            if after_seq is None:
                continue
            if after_seq > wanted and live.is_of(self._projection):
                # The live generation fell back (its store was emptied). This code has its fold and may fill it.
                self._fill_shard(live_sink, shard, after_seq)
                continue
            after = new_sink.dump(shard)
            reached = 0 if after.fence is None else after.fence.seq
            if reached != after_seq:
                continue
            found.add_shard(self._projection, shard, before, after)
            return
        raise FenceConflict(f"shard {shard} of {self._projection.name} keeps changing; is another rebuild running?")

    def _fill_shard(self, sink: Sink, shard: int, seq: int) -> int | None:
        """Fold up to ``seq`` or beyond. Returns the seq of the fence; None if another worker moved the fence."""
        ports = self._ports
        shards = ShardProcessor(self._projection, ports.log, sink, ports.decode, ProcessorLimits())
        shards.open([shard])
        shards.refolds.finish()
        shards.fill(shard, seq)
        return shards.states[shard].fence.seq if shard in shards.states else None

    def switch(self, live: Generation, to: Generation) -> None:
        """Readers follow ``to`` once all of its fences have reached those of ``live``."""
        ports = self._ports
        catch_up = CatchUp(self._projection, ports.log, ports.sink_of(to.number), ports.decode, list(_ALL))
        if to.is_of(self._projection):
            self._retrying(lambda: ports.wait_until_followed(to))
        # What a fill writes is not published: readers must not be switched to a generation that one still writes.
        ports.end_other_fills(to.number)

        def catch_up_and_switch() -> None:
            with ports.generations.switching(live, to):
                catch_up.run(self._fences_of(live))

        self._retrying(catch_up_and_switch)
        ports.on_progress(f"switched: readers follow generation {to.number} of {self._projection.name}")

    def _resume_or_create(
        self, live: Generation, accept: str | None, live_is_damaged: str | None, verify_only: bool
    ) -> Generation:
        """The generation of an aborted rebuild that can be resumed, or a new one."""
        for old in self._all():
            if old.active or old.state == "following":
                continue
            if old.is_of(self._projection) and self._can_resume(old, live, accept, live_is_damaged, verify_only):
                self._ports.on_progress(f"resuming with generation {old.number} ({old.state})")
                return old
            if verify_only and old.state != "filling":
                # It waits for a switch, and may be of code that is not deployed yet: a comparison must not cost it.
                continue
            self._drop(old)
        new = self._retrying(lambda: self._ports.generations.begin(self._projection))
        # A restored log has forgotten which numbers were used: content under this number may be of another fold.
        self._clear(new.number)
        return new

    def _can_resume(
        self, old: Generation, live: Generation, accept: str | None, live_is_damaged: str | None, verify_only: bool
    ) -> bool:
        if old.state == "filling":
            return True
        if verify_only:
            return False
        found = old.comparison or {}
        if old.state == "ready":
            # Readers may follow another generation by now than the one that it was compared with.
            return bool(found.get("live") == live.number)
        same = live.fold_version == old.fold_version
        given = live_is_damaged if same else accept
        if given is None or found.get("live") != live.number or (same and live.fold_digest != old.fold_digest):
            return False
        if found.get("digest") != given:
            raise DigestMismatch(
                f"the differences that were found have the digest {found.get('digest')}, not {given}: "
                "run the same command without the digest to see them"
            )
        return True

    def _accepted(
        self, comparison: GenerationComparison, accept: str | None, live_is_damaged: str | None, outcome: RebuildOutcome
    ) -> bool:
        if comparison.live_version == comparison.new_version:
            outcome.verdict = RebuildVerdict.BLOCKED
            # Only for the same digest: a changed fold must not go live under the version of the old one.
            return outcome.live.fold_digest == outcome.new.fold_digest and live_is_damaged == comparison.digest
        outcome.verdict = RebuildVerdict.NEEDS_ACCEPTANCE
        return accept == comparison.digest

    def _live(self) -> Generation:
        live = active(self._all())
        if live is None:
            raise NoGenerationToRollBackTo(
                f"{self._projection.name} has no active generation yet: start `python app.py serve` once"
            )
        return live

    def _named(self, number: int) -> Generation:
        found = next((one for one in self._all() if one.number == number), None)
        if found is None:
            raise NotSwitched(f"{self._projection.name} has no generation {number}: it may have been dropped")
        return found

    def _all(self) -> list[Generation]:
        return self._retrying(lambda: self._ports.generations.all(self._projection.name))

    def _drop(self, old: Generation) -> None:
        # The state first: workers stop to update the generation before its content is deleted.
        self._retrying(lambda: self._ports.generations.record(old, "dropped", old.comparison))
        self._clear(old.number)

    def _clear(self, number: int) -> None:
        # The other fills first: one that goes on would write content that no list shows.
        self._ports.end_other_fills(number)
        self._retrying(self._ports.sink_of(number).drop)

    def _fences_of(self, live: Generation) -> dict[int, int]:
        """Seqs of the live fences that match the log. A shard without one is filled to the head."""
        fences = dict(zip(_ALL, self._ports.sink_of(live.number).fences(list(_ALL)), strict=True))
        return check_fences(self._ports.log, self._projection.stream, fences).seqs(fences)

    def _parked(self, new: Generation) -> list[RebuildParkedKey]:
        found = self._retrying(lambda: self._ports.sink_of(new.number).parked(list(_ALL)))
        return sorted(RebuildParkedKey(key, event) for events in found.values() for key, event in events.items())
