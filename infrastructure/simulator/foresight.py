"""Runs a world ahead of what is sent of it, so that a demo can show how long an order will truly take.

The world does not depend on the server's answers, so its future is known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from infrastructure.simulator.actions import Action, SentCommand
from infrastructure.simulator.deliveries import TripLeg, Verb
from infrastructure.simulator.world import STEP_S, SimulatedWorld

FIRST_AHEAD_S = 1_500.0
"""How far the world is ahead of the first action: further would delay the start of a demo on a slow machine."""

AHEAD_GROWTH = 30.0
"""Seconds that the world runs for each second that is sent, until it is far enough ahead."""

MAX_AHEAD_S = 3_600.0
MAX_AHEAD_PINGS = 100_000
"""Bounds the memory of the actions that are made but not sent yet: about a kilobyte a ping."""


class TrueEnd(NamedTuple):
    """When an order truly ends, in epoch milliseconds: the hand-over, or its cancellation."""

    at_ms: int
    is_completed: bool


class Foresight:
    """A world with the true ends of its orders, known before they happen. Read ``ends`` from any thread."""

    def __init__(self, world: SimulatedWorld) -> None:
        self.ends: dict[str, TrueEnd] = {}
        self._world = world
        pings_per_s = world.scenario.riders / world.scenario.phone.every_s
        self._ahead_s = min(MAX_AHEAD_S, MAX_AHEAD_PINGS / pings_per_s)

    def actions(self) -> Iterator[Action]:
        """The world's actions in the order of sending, each once the world is far enough ahead of it."""
        made: deque[Action] = deque()
        world = self._world
        ahead_s = min(FIRST_AHEAD_S, self._ahead_s)
        while world.now_s < world.scenario.duration_s:
            new = world.advance(STEP_S)
            made.extend(new)
            self._note(new)
            while made and made[0].send_at_s <= world.now_s - ahead_s:
                action = made.popleft()
                ahead_s = min(self._ahead_s, FIRST_AHEAD_S + AHEAD_GROWTH * action.send_at_s)
                yield action
        new = world.finish()
        self._note(new)
        yield from made
        yield from new

    def _note(self, actions: list[Action]) -> None:
        for leg in self._world.truths.take():
            if leg.leg == TripLeg.TO_CUSTOMER.value and leg.handover_ms is not None:
                self.ends[leg.order_id] = TrueEnd(leg.handover_ms, is_completed=True)
        for action in actions:
            if isinstance(action, SentCommand) and action.verb is Verb.CANCEL:
                self.ends[action.order_id] = TrueEnd(action.at_ms, is_completed=False)
