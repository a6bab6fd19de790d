"""Invariant 10 on real servers: one bad event stops one key; once repaired, it is as if it had never failed."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest

from projections.catalogue import of_stream
from tests.faults.test_rebuild_live import prefill, rebuild
from tests.support.postgres.poison import Poison
from tests.support.reports.proofs import whole
from tests.support.waiting import eventually
from tests.support.worlds.accounting import account_for, differing_riders, read_log
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.steady_load import SteadyLoad

PINGS, PINGS_PER_S = (100_000, 400) if whole() else (10_000, 100)

OF_RIDERS = of_stream("Rider")


def a_ping(rider: str, t_ms: int) -> dict[str, Any]:
    return {"rider_id": rider, "latitude": 52.5, "longitude": 13.4, "event_timestamp_ms": t_ms, "accuracy_meters": 5}


def parked(ridelog: Ridelog) -> list[dict[str, Any]]:
    found = json.loads(ridelog.ask("parked", "list", "--json").stdout)
    assert isinstance(found, list)
    return found


def all_parked(ridelog: Ridelog) -> list[dict[str, Any]]:
    """Parked keys once every projection has one; an empty list before."""
    found = parked(ridelog)
    return found if {one["projection"] for one in found} == OF_RIDERS.keys() else []


@pytest.mark.proof
def test_invariant_10_one_poison_event_parks_one_key_and_a_retry_resumes_it(ridelog: Ridelog) -> None:
    mark = uuid.uuid4().hex[:8]
    riders = [f"poison-{mark}-{number}" for number in range(200)]
    prefill(ridelog, riders, PINGS)
    victim, now_ms = riders[7], time.time_ns() // 1_000_000
    poison = Poison(ridelog.info.postgres_url)
    position = poison.record(a_ping(victim, now_ms), now_ms)

    # The other keys continue: their pings after the poison event are served.
    others = ridelog.post([a_ping(rider, now_ms + 1_000) for rider in riders])
    assert others["accepted"] == len(riders)  # the victim's own pings are recorded too
    for rider in (riders[0], riders[-1]):
        ridelog.speed_at(rider, position + 1)
    found = eventually(lambda: all_parked(ridelog), within_s=30, what="every projection has parked the key")
    assert {(one["key"], one["mark"]["position"], one["mark"]["kind"]) for one in found} == {
        (victim, position, "decode")
    }
    stale = ridelog.speed(victim)
    assert stale is not None
    assert stale["position"] < position  # the old state is served, with its age

    # Not repaired: a retry reports that. A rebuild at this point parks the same key, and is equal.
    assert ridelog.ask("parked", "retry", "speed", victim).returncode == 1
    outcome = rebuild(ridelog, "speed")
    assert (outcome["verdict"], [one["key"] for one in outcome["parked"]]) == ("switched", [victim])

    # Repaired, and retried while pings of the same key keep arriving.
    poison.cure()
    with SteadyLoad(ridelog, [victim, *riders[:20]], PINGS_PER_S, seed=3) as load:
        before = len(load.acknowledged)
        eventually(lambda: len(load.acknowledged) > before + 100, what="pings of the key keep coming")
        for name in OF_RIDERS:
            done = ridelog.ask("parked", "retry", name, victim, "--json")
            assert done.returncode == 0, done.stdout + done.stderr
            assert {one["verdict"] for one in json.loads(done.stdout)} == {"unparked"}
        after = len(load.acknowledged)
        eventually(lambda: len(load.acknowledged) > after + 100, what="pings of the key keep coming")
    assert parked(ridelog) == []
    account_for(ridelog, load.acknowledged)


@pytest.mark.proof
def test_invariant_10_a_discard_is_recorded_and_honoured_by_a_rebuild(ridelog: Ridelog) -> None:
    rider, now_ms = f"discard-{uuid.uuid4().hex[:8]}", time.time_ns() // 1_000_000
    ridelog.post(a_ping(rider, now_ms))
    poison = Poison(ridelog.info.postgres_url)
    position = poison.record(a_ping(rider, now_ms + 1), now_ms)
    ridelog.post(a_ping(rider, now_ms + 2))
    eventually(lambda: all_parked(ridelog), within_s=30, what="every projection has parked the key")
    assert ridelog.ask("parked", "discard", "speed", rider).returncode == 2  # it requires a reason
    done = ridelog.ask("parked", "discard", "speed", rider, "--why", "a broken phone", "--who", "ann")
    assert done.returncode == 0, done.stderr
    speed = ridelog.speed_at(rider, position + 1)
    assert (speed["version"], speed["pings_in_window"]) == (4, 2)
    outcome = rebuild(ridelog, "speed")
    assert (outcome["verdict"], outcome["parked"]) == ("switched", [])
    assert ridelog.speed_at(rider, position + 1)["pings_in_window"] == 2
    poison.cure()  # a discarded event stays discarded, even if it could be decoded now
    account = read_log(ridelog)
    assert [name.partition("@")[0] for name in differing_riders(ridelog, account)] == [rider, rider]
    assert rebuild(ridelog, "speed", "--verify-only")["verdict"] == "equal"
    # The other projections, for which it was not discarded, fold it.
    for name in sorted(OF_RIDERS.keys() - {"speed"}):
        assert ridelog.ask("parked", "retry", name, "--all").returncode == 0
    assert parked(ridelog) == []
