"""The ends of orders are known before their last command is sent, and nothing that is sent changes."""

from __future__ import annotations

from infrastructure.simulator.actions import SentCommand, UploadKind
from infrastructure.simulator.deliveries import Verb
from infrastructure.simulator.foresight import Foresight
from infrastructure.simulator.world import SimulatedWorld
from tests.unit.simulator.scenarios import busy, sent


def test_the_actions_are_those_of_the_world() -> None:
    assert list(Foresight(SimulatedWorld(busy(1))).actions()) == sent(busy(1))


def test_the_end_of_most_orders_is_known_when_they_are_placed() -> None:
    foresight = Foresight(SimulatedWorld(busy(1)))
    known, ended = {}, {}
    for action in foresight.actions():
        if isinstance(action, SentCommand) and action.kind is not UploadKind.REPEAT:
            if action.verb is Verb.PLACE:
                known[action.order_id] = foresight.ends.get(action.order_id)
            if action.verb in {Verb.COMPLETE, Verb.CANCEL}:
                ended[action.order_id] = action
    assert set(known) == set(ended)
    assert sum(end is None for end in known.values()) < 0.2 * len(known)
    for order_id, end in foresight.ends.items():
        assert end.is_completed == (ended[order_id].verb is Verb.COMPLETE)
        # A button is pressed within seconds of the hand-over.
        assert 0 <= ended[order_id].at_ms - end.at_ms <= 10_000
