"""The hour before a demo begins: the same simulated city from earlier on, written to the empty log with its own times.

Riders and orders go on from there in real time, so that the page has a past to go back to, and nothing jumps at the
start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

from infrastructure.cli.output import echo
from infrastructure.errors import UserError
from infrastructure.simulator.actions import Action, SentCommand, Upload, UploadKind
from infrastructure.simulator.deliveries import Verb
from infrastructure.timestamps import now_ms

if TYPE_CHECKING:
    from infrastructure.simulator.foresight import TrueEnd
    from infrastructure.simulator.receptions import Reception
    from infrastructure.simulator.scenario import Scenario
    from infrastructure.simulator.world import SimulatedWorld

MAX_HISTORY_PINGS = 60_000
"""Bounds what a start waits for: as many pings are simulated and recorded in about six seconds of a core."""
HISTORY_EVERY_MS = 5_000
"""Of a fleet that sends each second, four of five pings of the past are left out: the page shows the same ways, and the
start records and folds a fifth."""
POLL_INTERVAL_S = 0.1
"""From one look for the database to the next."""


class DemoPast(NamedTuple):
    """What the city did before the demo, and what it does from then on.

    ``actions`` are in seconds since the beginning of the scenario. ``open_orders`` were placed and have not ended.
    """

    received: list[Reception]
    open_orders: list[str]
    actions: Iterator[Action]


class DemoCity(NamedTuple):
    """What is sent from now on, the orders that are open already, and the true ends of orders."""

    actions: Iterator[Action]
    open_orders: list[str]
    ends: Mapping[str, TrueEnd]


def begin(world: SimulatedWorld, past_s: float, data_dir: Path, wait_ready: Callable[[], None]) -> DemoCity:
    """Waits until the server is ready, and records the first ``past_s`` seconds of the world. Raises UserError."""
    from infrastructure.simulator.foresight import Foresight

    foresight = Foresight(world)
    if not past_s:
        wait_ready()
        return DemoCity(foresight.actions(), [], foresight.ends)
    stop = Event()

    def simulate_and_record() -> DemoPast:
        past = split(foresight.actions(), world.scenario, past_s)
        record(past, data_dir, stop)
        return past

    # Beside the start, which mostly waits: for the servers while the past is simulated, for the programs afterwards.
    with ThreadPoolExecutor(1, "past") as executor:
        recorded = executor.submit(simulate_and_record)
        try:
            wait_ready()
            past = recorded.result()
        finally:
            # After a failed start or Ctrl-C the thread ends after the batch that it records.
            stop.set()
    echo(f"recorded the last {past_s / 60.0:.0f} minutes: {len(past.received):,} pings and commands")
    since_s = (now_ms() - world.scenario.start_ms) / 1_000.0
    return DemoCity(from_now_on(past.actions, since_s), past.open_orders, foresight.ends)


def history_s(wanted_s: float, pings_per_s: float) -> float:
    """The length of a history in seconds, shorter for a large fleet."""
    return min(wanted_s, MAX_HISTORY_PINGS / pings_per_s)


def is_new(data_dir: Path) -> bool:
    """Whether no demo has used the directory: a history is written to an empty log alone."""
    return not (data_dir / "postgres").exists()


def split(actions: Iterator[Action], scenario: Scenario, until_s: float) -> DemoPast:
    """Run the world up to ``until_s``. Takes about a second of a core for each 15,000 pings."""
    from infrastructure.simulator.receptions import receptions

    before: list[Action] = []
    for action in actions:
        if action.send_at_s >= until_s:
            actions = chain([action], actions)
            break
        before.append(action)
    past = list(receptions(thinned(before), scenario))
    return DemoPast(past, _open_orders(before), _without_repeats(actions, before))


def thinned(actions: Iterable[Action]) -> Iterator[Action]:
    """The actions with one ping of each rider in HISTORY_EVERY_MS. One that is sent again is kept again."""
    kept: dict[tuple[str, int], str] = {}
    for action in actions:
        if not isinstance(action, Upload):
            yield action
            continue
        fixes = tuple(
            fix
            for fix in action.fixes
            if kept.setdefault(
                (action.rider_id, fix.ping["event_timestamp_ms"] // HISTORY_EVERY_MS), fix.ping["event_id"]
            )
            == fix.ping["event_id"]
        )
        if fixes:
            yield action._replace(fixes=fixes)


def record(past: DemoPast, data_dir: Path, stop: Event) -> None:
    """Write the past to the log of the ``serve`` that starts, as soon as its database runs, until ``stop`` is set.

    Nothing may read the past of this log before: that makes its instant final, and the order of the log would break.
    So the demo names its address afterwards. Raises UserError if it is so, the log is not empty, or the database fails.
    """
    from eventsourcing.persistence import PersistenceError

    from infrastructure.cli.history import BATCH_ITEMS, batches
    from infrastructure.embedded.data_dir import read_run_info
    from infrastructure.imports.backfill import open_history
    from infrastructure.schema_registry.client import RegistryUnavailable
    from infrastructure.settings.settings import Settings
    from projections.core.ports import PortUnavailable, SinkRejected

    while read_run_info(data_dir) is None:
        if stop.wait(POLL_INTERVAL_S):
            return
    # Only what the demo says: simulated riders must not get into a database that the environment names.
    settings = Settings.load({"data_dir": data_dir.absolute()}, env={}, toml=None)
    try:
        with open_history(settings) as history:
            history.refuse_unless_empty("or start the demo with --history 0")
            for batch in batches(past.received, BATCH_ITEMS):
                if stop.is_set():
                    return
                history.joint.record([each.item for each in batch])
    except (PersistenceError, PortUnavailable, SinkRejected, RegistryUnavailable) as error:
        raise UserError(
            f"the history could not be recorded: {error}; start the demo again, it goes on without"
        ) from error


def from_now_on(actions: Iterable[Action], since_s: float) -> Iterator[Action]:
    """The actions with their times from ``since_s`` on. What was due meanwhile is due at once."""
    for action in actions:
        yield action._replace(send_at_s=max(0.0, action.send_at_s - since_s))


def _without_repeats(actions: Iterable[Action], before: Iterable[Action]) -> Iterator[Action]:
    """The actions, but for pings of ``before`` that are sent again.

    The page compares what was acknowledged with the log from now on: such a ping would count as lost.
    """
    recorded = {fix.ping["event_id"] for action in before if isinstance(action, Upload) for fix in action.fixes}
    for action in actions:
        repeated = action.fixes if isinstance(action, Upload) and action.kind is UploadKind.REPEAT else ()
        if not repeated or any(fix.ping["event_id"] not in recorded for fix in repeated):
            yield action


def _open_orders(actions: Iterable[Action]) -> list[str]:
    found: dict[str, None] = {}
    for action in actions:
        if not isinstance(action, SentCommand):
            continue
        if action.verb is Verb.PLACE:
            found[action.order_id] = None
        elif action.verb in {Verb.COMPLETE, Verb.CANCEL}:
            found.pop(action.order_id, None)
    return list(found)
