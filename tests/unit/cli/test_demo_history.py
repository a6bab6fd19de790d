"""The past of a demo: the same world, cut in two at the start, with nothing lost and nothing sent twice."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest

from domain.deliveries.commands import Cancel, Complete, PlaceOrder
from domain.gps_ping import GpsPing
from infrastructure.cli.demo_history import (
    HISTORY_EVERY_MS,
    MAX_HISTORY_PINGS,
    begin,
    from_now_on,
    history_s,
    is_new,
    split,
    thinned,
)
from infrastructure.errors import UserError
from infrastructure.simulator.actions import Action, SentCommand, Upload, UploadKind
from infrastructure.simulator.demand import Demand
from infrastructure.simulator.scenario import PhoneModel, Scenario
from infrastructure.simulator.world import SimulatedWorld, all_actions

START_MS = 1_790_000_000_000
WHOLE_S = 3_600.0
SCENARIO = Scenario(
    "1", START_MS, WHOLE_S, 6, phone=PhoneModel(every_s=10.0), demand=Demand(60.0, restaurants=3, opening=3)
)


def items(actions: list[Action]) -> int:
    return sum(len(action.fixes) if isinstance(action, Upload) else 1 for action in actions)


@pytest.mark.parametrize("until_s", [1.0, 1_000.0, 3_000.0])
def test_every_action_is_either_recorded_or_sent(until_s: float) -> None:
    """Given a world, when it is cut, then the past has what was sent before, in order, and the rest has all else."""
    whole = list(all_actions(SimulatedWorld(SCENARIO)))
    past = split(all_actions(SimulatedWorld(SCENARIO)), SCENARIO, until_s)
    before = [action for action in whole if action.send_at_s < until_s]
    assert len(past.received) == items(before)
    assert list(past.actions) == [one for one in whole[len(before) :] if not is_repeat_of(one, before)]
    times = [one.received_ms for one in past.received]
    assert times == sorted(times)
    assert times[-1] <= START_MS + until_s * 1_000


def is_repeat_of(action: Action, before: list[Action]) -> bool:
    fixes = action.fixes if isinstance(action, Upload) else ()
    return action.kind is UploadKind.REPEAT and any(one.fixes == fixes for one in before if isinstance(one, Upload))


def test_a_ping_of_the_past_is_not_sent_again() -> None:
    """Given uploads that are repeated, when the world is cut between the two, then the second one is left out."""
    whole = list(all_actions(SimulatedWorld(SCENARIO)))
    uploads = [one for one in whole if isinstance(one, Upload)]
    repeat = next(one for one in uploads if one.kind is UploadKind.REPEAT)
    first = next(one for one in uploads if one.fixes == repeat.fixes)
    assert first.send_at_s < repeat.send_at_s
    cut_between = list(split(iter(whole), SCENARIO, (first.send_at_s + repeat.send_at_s) / 2).actions)
    assert repeat not in cut_between
    cut_before = list(split(iter(whole), SCENARIO, first.send_at_s / 2).actions)
    assert repeat in cut_before


def test_the_past_of_a_fleet_that_sends_each_second_has_a_ping_each_five() -> None:
    """Given pings each second, all sent twice, when they are thinned, then each rider has one in five seconds."""
    scenario = SCENARIO._replace(phone=PhoneModel(every_s=1.0), riders=2)
    whole = list(all_actions(SimulatedWorld(scenario._replace(duration_s=600.0))))
    pings = [fix.ping for one in thinned([*whole, *whole]) if isinstance(one, Upload) for fix in one.fixes]
    ids = {(one["rider_id"], one["event_timestamp_ms"] // HISTORY_EVERY_MS): one["event_id"] for one in pings}
    assert set(ids.values()) == {one["event_id"] for one in pings}
    assert len(pings) == 2 * len(ids), "what is sent again is received again"
    assert 2 * 600 / 5 * 0.8 < len(ids) <= 2 * (600 / 5 + 1)
    assert [one for one in thinned(whole) if isinstance(one, SentCommand)] == [
        one for one in whole if isinstance(one, SentCommand)
    ]


def test_the_orders_that_go_on_are_those_without_an_end() -> None:
    past = split(all_actions(SimulatedWorld(SCENARIO)), SCENARIO, 1_800.0)
    commands = [one.item for one in past.received if not isinstance(one.item, GpsPing)]
    placed = [item.order_id for item in commands if isinstance(item, PlaceOrder)]
    ended = {item.order_id for item in commands if isinstance(item, Complete | Cancel)}
    assert ended
    assert past.open_orders == list(dict.fromkeys(order for order in placed if order not in ended))
    assert past.open_orders
    # What goes on with them is in the rest, and nothing of theirs is placed again.
    later = [action for action in past.actions if isinstance(action, SentCommand)]
    assert {action.order_id for action in later if action.verb.value == "complete"} & set(past.open_orders)


def test_what_was_due_while_the_past_was_recorded_is_due_at_once_and_the_rest_in_time() -> None:
    past = split(all_actions(SimulatedWorld(SCENARIO)), SCENARIO, 1_800.0)
    rest = list(past.actions)
    shifted = list(from_now_on(rest, 1_810.0))
    assert [one.send_at_s for one in shifted] == [max(0.0, one.send_at_s - 1_810.0) for one in rest]
    assert shifted[0].send_at_s == 0.0
    assert [one._replace(send_at_s=0.0) for one in shifted] == [one._replace(send_at_s=0.0) for one in rest]


def test_a_start_that_fails_waits_for_no_database(tmp_path: Path) -> None:
    """Given a server that ends before its database runs, when a demo begins, then it fails, and its thread ends."""

    def ends() -> None:
        raise UserError("serve ended with exit code 1")

    before = set(threading.enumerate())
    with pytest.raises(UserError, match="exit code 1"):
        begin(SimulatedWorld(SCENARIO), 600.0, tmp_path, ends)
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(("pings_per_s", "expected_s"), [(10.0, 3_600.0), (100.0, 600.0), (math.inf, 0.0)])
def test_a_large_fleet_has_a_shorter_past(pings_per_s: float, expected_s: float) -> None:
    assert history_s(3_600.0, pings_per_s) == expected_s
    assert history_s(0.0, pings_per_s) == 0.0
    assert history_s(3_600.0, pings_per_s) * min(pings_per_s, 1e9) <= MAX_HISTORY_PINGS


def test_a_directory_that_a_demo_has_used_gets_no_past(tmp_path: Path) -> None:
    assert is_new(tmp_path / "absent")
    assert is_new(tmp_path)
    (tmp_path / "postgres").mkdir()
    assert not is_new(tmp_path)
