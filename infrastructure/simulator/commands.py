"""Makes the commands on deliveries as the HTTP interface takes them, each with its own Idempotency-Key. Pure."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

from infrastructure.simulator.actions import SentCommand, UploadKind
from infrastructure.simulator.deliveries import SimulatedOrder, Verb
from infrastructure.simulator.scenario import Scenario

KEY_NAMESPACE = UUID("5f6c7b1e-5d0b-4d5e-8f4e-0a53c1e3f1d7")


class Commands:
    """Makes commands."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario

    def place(self, order: SimulatedOrder) -> SentCommand:
        """The command that places an order, sent at once."""
        return self._sent(order, Verb.PLACE, order.placed_s, order.place_body)

    def command(self, order: SimulatedOrder, verb: Verb, at_s: float, body: dict[str, Any]) -> SentCommand:
        """A command for something that happened at ``at_s``, sent at once; ``body`` has what it says besides."""
        return self._sent(order, verb, at_s, {"at": self._scenario.ms(at_s), **body})

    def _sent(self, order: SimulatedOrder, verb: Verb, at_s: float, body: dict[str, Any]) -> SentCommand:
        at_ms = self._scenario.ms(at_s)
        # An order can be assigned and unassigned several times, but not twice in one millisecond.
        key = str(uuid5(KEY_NAMESPACE, f"{order.order_id}/{verb.value}/{at_ms}"))
        return SentCommand(at_s, order.order_id, verb, UploadKind.LIVE, at_ms, key, body)
