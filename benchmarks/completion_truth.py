"""Folds simulated riders with completion, and compares what it says of each leg with what really happened."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from domain.deliveries.history_batch import HistoryBatch, decide_history
from domain.features.completion.fold import EMPTY, CompletionState, fold
from domain.features.completion.result import LegResult
from domain.features.geo import haversine_mm
from domain.features.keyed_event import KeyedEvent
from domain.riders.rider import Rider
from infrastructure.simulator.actions import Action, Upload
from infrastructure.simulator.demand import Demand
from infrastructure.simulator.gps_noise import NoiseModel
from infrastructure.simulator.receptions import receptions
from infrastructure.simulator.scenario import Scenario
from infrastructure.simulator.truth import LegTruth
from infrastructure.simulator.world import SimulatedWorld, all_actions

START_MS = 1_790_000_000_000
WITHIN_MS = 30_000
THERE_MM = 5_000
"""A rider who is truly within five metres of a target is there, also for another order that is fetched first."""

NEAR_MM = 40_000
"""An arrival is false if the rider was truly farther away."""


class TrueFix(NamedTuple):
    """Where a rider truly was at a fix, sent or not; WGS84 degrees."""

    t_ms: int
    latitude: float
    longitude: float


class SimulatedRides(NamedTuple):
    """Events of riders in the order of reception, the true legs, and the true places by rider and by event id."""

    events: list[KeyedEvent]
    legs: list[LegTruth]
    tracks: dict[str, list[TrueFix]]
    at_event: dict[str, TrueFix]


def scenario_of(seed: str, accuracy_m: float, riders: int, hours: float) -> Scenario:
    """A busy city whose phones have this median accuracy, with a ping each five seconds as in a history."""
    until_s = max(hours * 1_800.0, hours * 3_600.0 - 5_400.0)
    demand = Demand(2.0 * riders, max(1, riders // 2), until_s=until_s)
    return Scenario(seed, START_MS, hours * 3_600.0, riders, noise=NoiseModel(accuracy_m=accuracy_m), demand=demand)


def rides_of(scenario: Scenario) -> SimulatedRides:
    """Run the scenario through the aggregates, as a history is recorded."""
    world = SimulatedWorld(scenario)
    actions = list(all_actions(world))
    batch = HistoryBatch({}, {})
    decide_history([reception.item for reception in receptions(actions, scenario)], batch, {})
    tracks, at_event = _true_fixes(actions, scenario)
    return SimulatedRides(list(_keyed(batch)), world.truths.take(), tracks, at_event)


def _keyed(batch: HistoryBatch) -> Iterator[KeyedEvent]:
    for position, each in enumerate(batch.events, start=1):
        event = each.event
        if isinstance(event, Rider.Event | Rider.Registered):
            yield KeyedEvent(event.key, event.originator_version, position, event.RECORD, event.data())


def _true_fixes(actions: Iterable[Action], scenario: Scenario) -> tuple[dict[str, list[TrueFix]], dict[str, TrueFix]]:
    tracks: defaultdict[str, list[TrueFix]] = defaultdict(list)
    at_event: dict[str, TrueFix] = {}
    for action in actions:
        if isinstance(action, Upload):
            for ping, truth in action.fixes:
                fix = TrueFix(ping["event_timestamp_ms"], *scenario.city.degrees_of(*truth.at))
                at_event[ping["event_id"]] = fix
                tracks[action.rider_id].append(fix)
    return {rider: sorted(track) for rider, track in tracks.items()}, at_event


class LegCheck(NamedTuple):
    """What the fold said of one leg, beside the truth; None where it said nothing."""

    truth: LegTruth
    result: LegResult
    arrived_ms: int | None
    """When the rider truly came to the target: since then without leaving it until served."""
    true_mm: int | None
    """How far from the target the rider truly was at the arrival that the fold reports."""


def checks(rides: SimulatedRides) -> list[LegCheck]:
    """Fold all events, and compare each true leg."""
    states: dict[str, CompletionState] = {}
    results: dict[tuple[str, str, str], LegResult] = {}
    targets: dict[tuple[str, str], tuple[float, float]] = {}
    for event in rides.events:
        state = states[event.key] = fold(states.get(event.key, EMPTY), event)
        for result in state.results:
            results[result.order_id, result.leg, event.key] = result
        if event.event_type == "LegStarted":
            data = event.data
            targets[data["order_id"], data["leg"]] = data["target_latitude"], data["target_longitude"]
    found = []
    for leg in rides.legs:
        result = results[leg.order_id, leg.leg, leg.rider_id]
        target = targets[leg.order_id, leg.leg]
        shown = rides.at_event.get(result.arrived_event or "")
        true_mm = None if shown is None else haversine_mm(*shown[1:], *target)
        found.append(LegCheck(leg, result, _true_arrival(leg, rides.tracks[leg.rider_id], target), true_mm))
    return found


def _true_arrival(leg: LegTruth, track: list[TrueFix], target: tuple[float, float]) -> int | None:
    if leg.arrived_ms is None:
        return None
    arrived_ms, index = leg.arrived_ms, bisect_right(track, (leg.arrived_ms,)) - 1
    while index >= 0 and track[index].t_ms >= leg.began_ms and haversine_mm(*track[index][1:], *target) <= THERE_MM:
        arrived_ms = min(arrived_ms, track[index].t_ms)
        index -= 1
    return arrived_ms


def tally(found: Iterable[LegCheck]) -> dict[str, float]:
    """Shares of the completed legs, and of all legs for false arrivals."""
    counts: Counter[str] = Counter()
    for truth, result, arrived_ms, true_mm in found:
        counts["legs"] += 1
        counts["false"] += true_mm is not None and true_mm > NEAR_MM
        if truth.outcome != "completed" or arrived_ms is None or truth.handover_ms is None:
            continue
        counts["completed"] += 1
        counts["waited"] += arrived_ms < (truth.arrived_ms or 0) - WITHIN_MS
        counts["both"] += result.basis == "both"
        if result.arrived_ms is None:
            counts["unseen"] += 1
        else:
            counts["arrived"] += abs(result.arrived_ms - arrived_ms) <= WITHIN_MS
            counts["early"] += result.arrived_ms < arrived_ms - WITHIN_MS
            counts["late"] += result.arrived_ms > arrived_ms + WITHIN_MS
        counts["done"] += result.done_ms is not None and abs(result.done_ms - truth.handover_ms) <= WITHIN_MS
    completed, legs = max(1, counts["completed"]), max(1, counts["legs"])
    return {
        "completed legs": counts["completed"],
        "arrived within 30 s, %": 100.0 * counts["arrived"] / completed,
        "  earlier, %": 100.0 * counts["early"] / completed,
        "  later, %": 100.0 * counts["late"] / completed,
        "  not seen, %": 100.0 * counts["unseen"] / completed,
        "  there before it was served, %": 100.0 * counts["waited"] / completed,
        "done within 30 s, %": 100.0 * counts["done"] / completed,
        "by pings and button, %": 100.0 * counts["both"] / completed,
        "false arrivals, %": 100.0 * counts["false"] / legs,
    }
