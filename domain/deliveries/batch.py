"""One batch of commands on deliveries, decided on copies, so that it can be decided again inside the log's lock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar, cast
from uuid import UUID

from eventsourcing.persistence import StoredEvent

from domain.deliveries.commands import DeliveryCommand
from domain.deliveries.decide import Decided, decide, rider_of
from domain.deliveries.delivery import Delivery
from domain.deliveries.live import LiveDeliveries
from domain.deliveries.recorded_keys import OrderKey, RecordedKeys, keys_to_look_up
from domain.deliveries.values import DeliverySnapshot
from domain.errors import DomainError, LegAlreadyStarted, LegNotStarted, TooManyLegs
from domain.event_store import RecordedVersion
from domain.live_aggregates import LiveAggregates, Positioned
from domain.riders.rider import Rider

A = TypeVar("A", Rider, Delivery)

_LEG_ERRORS = (TooManyLegs, LegAlreadyStarted, LegNotStarted)
"""Rejections that depend on the rider; all others depend on the delivery alone."""


class CommandOutcome(NamedTuple):
    """The result for one command.

    ``delivery`` is the delivery right after the command, None if it was rejected. ``recorded`` is False for a repeat.
    ``position`` is that of the delivery's last event.
    """

    delivery: DeliverySnapshot | None
    recorded: bool
    rejection: DomainError | None = None
    position: int | None = None


class _Decision(NamedTuple):
    """The decision on one command. ``offset``: place of the delivery's last event in the batch; None if it is older."""

    delivery: DeliverySnapshot | None
    recorded: bool = False
    rejection: DomainError | None = None
    offset: int | None = None


class Batch:
    """Commands in their order, and the decisions on them.

    The aggregates in memory are not changed: ``decide`` works on copies. So a conflict costs a reload of the aggregates
    that another writer has changed, and of no others.
    """

    def __init__(
        self, commands: Sequence[DeliveryCommand], deliveries: LiveDeliveries, riders: LiveAggregates[Rider]
    ) -> None:
        self._commands = commands
        self._live_deliveries = deliveries
        self._live_riders = riders
        self._loaded_deliveries: dict[str, Positioned[Delivery] | None] = {}
        self._loaded_riders: dict[str, Rider | None] = {}
        self._looked_up: dict[OrderKey, str | None] = {}
        self._keys = RecordedKeys()
        self._deliveries: dict[str, Delivery | None] = {}
        self._riders: dict[str, Rider | None] = {}
        self._decisions: list[_Decision] = []
        self._offsets: dict[str, int] = {}
        self._consulted: set[UUID] = set()
        self.events: list[StoredEvent] = []

    def decide(self, *, in_lock: bool = False) -> None:
        """Decide every command. What is loaded already is not loaded again.

        ``in_lock``: the append calls this inside the log's lock. Then what is missing comes from the log, since nothing
        compares it with the log any more. A command may change another rider now than when it was first decided.
        """
        self._load(in_lock)
        self._deliveries = {
            key: copy_of(each.aggregate) if each else None for key, each in self._loaded_deliveries.items()
        }
        self._riders = {key: copy_of(rider) if rider else None for key, rider in self._loaded_riders.items()}
        looked_up = {key: digest for key, digest in self._looked_up.items() if digest is not None}
        self._keys = RecordedKeys(self._commands, self._loaded(), looked_up)
        self.events, self._offsets, self._consulted = [], {}, set()
        self._decisions = [self._decide(command) for command in self._commands]

    def restart(self) -> None:
        """Forget what the batch has loaded, so that the next decision loads it. What is in memory stays."""
        self._loaded_deliveries, self._loaded_riders, self._looked_up = {}, {}, {}

    def forget(self, current: set[UUID]) -> None:
        """Forget every aggregate of the batch that is not in ``current``, here and in memory."""
        for order_id in [key for key in self._loaded_deliveries if self._live_deliveries.id_of(key) not in current]:
            del self._loaded_deliveries[order_id]
            self._live_deliveries.forget(order_id)
        self._looked_up = {key: d for key, d in self._looked_up.items() if key.order_id in self._loaded_deliveries}
        for rider_id in [key for key in self._loaded_riders if self._live_riders.id_of(key) not in current]:
            del self._loaded_riders[rider_id]
            self._live_riders.forget(rider_id)

    def loaded(self) -> dict[UUID, RecordedVersion]:
        """The last event of each loaded aggregate; version 0 = none; position 0 where it is not known."""
        found = {self._live_riders.id_of(key): _last(rider, 0) for key, rider in self._loaded_riders.items()}
        for order_id, each in self._loaded_deliveries.items():
            found[self._live_deliveries.id_of(order_id)] = (
                _last(each.aggregate, each.position) if each else _last(None, 0)
            )
        return found

    def riders_in(self, aggregates: set[UUID]) -> list[str]:
        """Those of the loaded riders that are among ``aggregates``."""
        return [key for key in self._loaded_riders if self._live_riders.id_of(key) in aggregates]

    def written(self) -> Counter[UUID]:
        """The number of new events of each aggregate."""
        return Counter(cast("UUID", event.originator_id) for event in self.events)

    def consulted(self) -> set[UUID]:
        """The aggregates by which commands were rejected or found to be repeats, and that have no new event.

        An append compares only the versions of aggregates with new events, so these have to be compared with the log.
        """
        return self._consulted - self.written().keys()

    def keep(self, first_position: int) -> None:
        """Keep the aggregates in memory, after the append that recorded the events from ``first_position`` on."""
        written = self.written()
        for order_id, delivery in self._deliveries.items():
            if delivery is not None:
                offset, before = self._offsets.get(order_id), self._loaded_deliveries[order_id]
                position = first_position + offset if offset is not None else before.position if before else 0
                kept = Positioned(delivery, position)
                self._live_deliveries.keep_positioned(order_id, kept, written[delivery.id])
        for rider_id, rider in self._riders.items():
            if rider is not None:
                self._live_riders.keep(rider_id, rider, written[rider.id])

    def outcomes(self, first_position: int) -> list[CommandOutcome]:
        """One outcome a command, after the append that recorded the events from ``first_position`` on."""
        return [_outcome(decision, first_position) for decision in self._decisions]

    def _load(self, in_lock: bool) -> None:
        order_ids = dict.fromkeys(command.order_id for command in self._commands)
        missing = [order_id for order_id in order_ids if order_id not in self._loaded_deliveries]
        deliveries, live_riders = self._live_deliveries, self._live_riders
        self._loaded_deliveries |= (deliveries.read_positioned if in_lock else deliveries.load_positioned)(missing)
        self._look_up_keys()
        # Every rider that a command of the batch can change: by now assigned, or assigned within the batch.
        riders: dict[str, None] = {}
        for command in self._commands:
            loaded = self._loaded_deliveries[command.order_id]
            rider_id = rider_of(command, loaded.aggregate if loaded else None)
            if rider_id is not None and rider_id not in self._loaded_riders:
                riders[rider_id] = None
        self._loaded_riders |= (live_riders.read if in_lock else live_riders.load)(riders)

    def _loaded(self) -> dict[str, Delivery | None]:
        return {order_id: each.aggregate if each else None for order_id, each in self._loaded_deliveries.items()}

    def _look_up_keys(self) -> None:
        """Look up the keys that the loaded deliveries may have forgotten, and that are not looked up since."""
        wanted = keys_to_look_up(self._commands, self._loaded())
        missing = {key: aggregate for key, aggregate in wanted.items() if key not in self._looked_up}
        if missing:
            self._looked_up |= dict.fromkeys(missing) | self._live_deliveries.find_digests(missing)

    def _decide(self, command: DeliveryCommand) -> _Decision:
        delivery = self._deliveries[command.order_id]
        rider_id = rider_of(command, delivery)
        try:
            rider = None if rider_id is None else self._riders[rider_id]
            decided = decide(command, delivery, rider, self._keys.digest(command))
        except DomainError as rejection:
            self._consulted.add(self._live_deliveries.id_of(command.order_id))
            if rider_id is not None and isinstance(rejection, _LEG_ERRORS):
                self._consulted.add(self._live_riders.id_of(rider_id))
            return _Decision(None, rejection=rejection)
        if decided.recorded:
            self._take(command, decided)
        else:
            self._consulted.add(decided.delivery.id)
        before = self._loaded_deliveries[command.order_id]
        shown = decided.delivery.snapshot(before.position if before else 0)
        return _Decision(shown, decided.recorded, offset=self._offsets.get(command.order_id))

    def _take(self, command: DeliveryCommand, decided: Decided) -> None:
        self._keys.note(command)
        self._deliveries[command.order_id] = decided.delivery
        self._offsets[command.order_id] = len(self.events)
        self.events += self._live_deliveries.collect(decided.delivery)
        if decided.rider is not None:
            self._riders[decided.rider.rider_id] = decided.rider
            self.events += self._live_riders.collect(decided.rider)


def copy_of(aggregate: A) -> A:
    """A copy that commands may change. State holds values, and lists and mappings of values or of lists."""
    copied = cast("Any", object.__new__(type(aggregate)))
    for name, value in vars(aggregate).items():
        if isinstance(value, list):
            copied.__dict__[name] = [list(each) if isinstance(each, list) else each for each in value]
        else:
            copied.__dict__[name] = dict(value) if isinstance(value, dict) else value
    return cast("A", copied)


def _last(aggregate: Rider | Delivery | None, position: int) -> RecordedVersion:
    return RecordedVersion(aggregate.version if aggregate else 0, position)


def _outcome(decision: _Decision, first_position: int) -> CommandOutcome:
    shown = decision.delivery
    if shown is not None and decision.offset is not None:
        shown = replace(shown, position=first_position + decision.offset)
    return CommandOutcome(shown, decision.recorded, decision.rejection, shown.position if shown else None)
