"""Walks a simulated city in the order of reception, and yields the ETA's features of every open order, with the truth.

Commands are decided by the domain, and events are folded by the folds of this repository, in memory. Nothing that is
received later is known to an answer; the truth is the simulator's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from benchmarks.eta_folded import FoldedLog
from domain.deliveries.commands import DeliveryCommand
from domain.deliveries.decide import decide, rider_of
from domain.deliveries.delivery import Delivery
from domain.errors import DomainError
from domain.features.eta.features import EtaReading, eta_reading
from domain.features.orders import OPEN_STATUSES
from domain.gps_ping import GpsPing, record_of
from domain.riders.rider import Rider
from infrastructure.simulator.receptions import Reception, receptions
from infrastructure.simulator.scenario import Scenario
from infrastructure.simulator.truth import LegTruth
from infrastructure.simulator.world import SimulatedWorld, all_actions


class SimulatedSample(NamedTuple):
    """What was known of one order at ``t_ms`` (epoch ms), and the seconds that were truly left."""

    order_id: str
    t_ms: int
    reading: EtaReading
    true_s: float


class SimulatedLog:
    """The read models of one city, as of the latest reception."""

    def __init__(self) -> None:
        self._log = FoldedLog()
        self._deliveries: dict[str, Delivery] = {}
        self._riders: dict[str, Rider] = {}

    def receive(self, reception: Reception) -> None:
        """Fold one ping, or what one command records. A refused or repeated command records nothing."""
        if isinstance(reception.item, GpsPing):
            self._log.add("Rider", reception.item.rider_id, "GpsPing", record_of(reception.item))
            return
        for event in self._decided(reception.item):
            stream = "Rider" if isinstance(event, Rider.Event) else "Delivery"
            self._log.add(stream, event.key, event.RECORD, event.data())

    def readings(self, now_ms: int) -> Iterator[tuple[str, EtaReading]]:
        """Every open order with what its ETA is computed from at ``now_ms``."""
        self._log.advance(now_ms)
        city = self._log.city(now_ms)
        for order_id, order in self._log.orders.items():
            if order.status in OPEN_STATUSES:
                rider = None if order.rider_id is None else self._log.riders[order.rider_id]
                yield order_id, eta_reading(order, rider, city, now_ms, order_id=order_id)

    def _decided(self, command: DeliveryCommand) -> list[Any]:
        delivery = self._deliveries.get(command.order_id)
        rider_id = rider_of(command, delivery)
        try:
            decided = decide(command, delivery, None if rider_id is None else self._riders.get(rider_id))
        except DomainError:
            return []
        self._deliveries[command.order_id] = decided.delivery
        events: list[Any] = [*decided.delivery.collect_events()]
        if decided.rider is not None:
            self._riders[decided.rider.rider_id] = decided.rider
            events += decided.rider.collect_events()
        return events


def walk_simulated(scenario: Scenario, every_s: float) -> Iterator[SimulatedSample]:
    """Samples of all orders that are handed over, every ``every_s`` seconds until then, in the order of time.

    An order whose rider has not yet reported the hand-over is no sample any more: nothing is left to estimate.
    """
    world = SimulatedWorld(scenario)
    received = list(receptions(all_actions(world), scenario))
    handed_over = hand_overs(world.truths.take())
    log, every_ms = SimulatedLog(), round(every_s * 1_000)
    due_ms = scenario.start_ms + every_ms
    for reception in received:
        while reception.received_ms > due_ms:
            for order_id, reading in log.readings(due_ms):
                end_ms = handed_over.get(order_id)
                if end_ms is not None and due_ms <= end_ms:
                    yield SimulatedSample(order_id, due_ms, reading, (end_ms - due_ms) / 1_000.0)
            due_ms += every_ms
        log.receive(reception)


def hand_overs(legs: Iterable[LegTruth]) -> dict[str, int]:
    """Order -> when its customer truly got it, epoch ms."""
    return {leg.order_id: leg.handover_ms for leg in legs if leg.leg == "to_customer" and leg.handover_ms is not None}
