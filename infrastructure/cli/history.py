"""``simulate --history``: writes days of simulated history, with its times of reception, directly to an empty log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from infrastructure.cli.output import echo
from infrastructure.errors import UserError
from infrastructure.timestamps import duration_ms

if TYPE_CHECKING:
    from domain.deliveries.history_batch import HistoryOutcome
    from domain.event_store import OrderBroken
    from infrastructure.imports.backfill import BackfillHistory
    from infrastructure.simulator.receptions import Reception
    from infrastructure.simulator.scenario import Scenario

BATCH_ITEMS = 10_000
"""Pings and commands per transaction: enough to make the fixed cost of a transaction negligible, and few enough that
the log's lock is held only briefly."""

ENDS_BEFORE_NOW_MS = 60_000
"""A history ends this long ago: what its phones still send after its end is received in the past too."""

LAST_ORDER_S = 5_400.0
"""No order is placed in the last hour and a half of a longer history, so that almost every order ends within it."""

MIN_HISTORY_MS, MAX_HISTORY_MS = 3_600_000, 400 * 86_400_000
FRESH = "a history is not continued: to begin again, name a fresh --data-dir or database"


class HistoryOptions(NamedTuple):
    """The options of the command line. ``data_dir`` None: the default."""

    data_dir: Path | None
    truth: Path | None


def history_s(text: str) -> float:
    """Seconds of a history such as ``36h`` or ``14d``. Raises ValueError, also for one outside of the limits."""
    length_ms = duration_ms(text)
    if not MIN_HISTORY_MS <= length_ms <= MAX_HISTORY_MS:
        raise ValueError(f"a history has between 1 hour and 400 days, not {text}")
    return length_ms / 1_000.0


def simulate_history(scenario: Scenario, options: HistoryOptions) -> dict[str, Any]:
    """Write the whole scenario. Returns the counts. Raises UserError, typer.Exit."""
    from eventsourcing.persistence import PersistenceError

    from domain.event_store import OrderBroken
    from infrastructure.cli.error_handling import INTERRUPTED, interruptible
    from infrastructure.imports.backfill import open_history
    from infrastructure.process_pool import tune_gc
    from infrastructure.schema_registry.client import RegistryUnavailable
    from infrastructure.settings.settings import Settings
    from projections.core.ports import PortUnavailable, SinkRejected

    tune_gc()
    counts = HistoryCounts()
    try:
        with open_history(Settings.load({"data_dir": options.data_dir})) as history, interruptible():
            history.refuse_unless_empty("an aborted history is not continued")
            _write(scenario, options, history, counts)
    except OrderBroken as error:
        raise UserError(_broken(error, counts)) from error
    except (PersistenceError, PortUnavailable, SinkRejected, RegistryUnavailable) as error:
        raise UserError(f"the event store failed: {error}; {FRESH} {counts.so_far()}") from error
    except KeyboardInterrupt:
        echo(f"interrupted; {FRESH} {counts.so_far()}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    return counts.summary()


def _write(scenario: Scenario, options: HistoryOptions, history: BackfillHistory, counts: HistoryCounts) -> None:
    from infrastructure.cli.progress import Reporter
    from infrastructure.simulator.receptions import receptions
    from infrastructure.simulator.truth_file import TruthFile
    from infrastructure.simulator.world import SimulatedWorld, all_actions

    world = SimulatedWorld(scenario)
    counts.begin()
    with ExitStack() as stack:
        file = stack.enter_context(TruthFile(options.truth)) if options.truth is not None else None
        shown = stack.enter_context(Reporter("history", "events", scenario.duration_s))

        def record(batch: list[Reception]) -> None:
            counts.add(batch, history.joint.record([each.item for each in batch]))
            legs = world.truths.take()
            if file is not None:
                file.add(legs)
            days = (batch[-1].received_ms - scenario.start_ms) / 86_400_000
            shown.update(world.now_s, counts.items, f"{days:.1f} days")

        for batch in batches(receptions(all_actions(world), scenario), BATCH_ITEMS):
            record(batch)
        # An order without an end would stay on its rider when the log goes live.
        if rest := list(_cancelled(world.open_orders, scenario)):
            record(rest)


def batches(received: Iterable[Reception], size: int) -> Iterator[list[Reception]]:
    rest = iter(received)
    while batch := list(islice(rest, size)):
        yield batch


def _cancelled(open_orders: Iterable[str], scenario: Scenario) -> Iterator[Reception]:
    from domain.deliveries.commands import Cancel
    from infrastructure.simulator.fleet import SIMULATION_ENDED
    from infrastructure.simulator.receptions import Reception

    ended_ms = scenario.ms(scenario.duration_s) + ENDS_BEFORE_NOW_MS // 2
    for order_id in open_orders:
        yield Reception(ended_ms, Cancel(order_id=order_id, received_ms=ended_ms, reason=SIMULATION_ENDED))


class HistoryCounts:
    """What was recorded so far."""

    def __init__(self) -> None:
        self.items = 0
        self._began: float | None = None
        self._pings = self._duplicates = self._repeats = 0
        self._commands: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()

    def begin(self) -> None:
        """The first batch is next: the start of the servers is not counted as time."""
        self._began = time.monotonic()

    def add(self, batch: Iterable[Reception], outcomes: Iterable[HistoryOutcome]) -> None:
        """Count a recorded batch."""
        from domain.gps_ping import GpsPing

        for reception, outcome in zip(batch, outcomes, strict=True):
            self.items += 1
            is_ping = isinstance(reception.item, GpsPing)
            if outcome.rejection is not None:
                self._rejected[outcome.rejection.code] += 1
            elif is_ping:
                self._pings += outcome.is_new
                self._duplicates += not outcome.is_new
            elif not isinstance(reception.item, GpsPing):
                self._commands[reception.item.VERB] += outcome.is_new
                self._repeats += not outcome.is_new

    def so_far(self) -> str:
        return f"(recorded so far: {self._pings:,} pings, {self._commands.total():,} commands)"

    def summary(self) -> dict[str, Any]:
        """The counts for ``--json``."""
        assert self._began is not None, "summary comes after the last batch"
        seconds = max(time.monotonic() - self._began, 1e-3)
        return {
            "sent": self._pings + self._duplicates,
            "accepted": self._pings,
            "duplicates": self._duplicates,
            "orders": self._commands["place"],
            "completed": self._commands["complete"],
            "cancelled": self._commands["cancel"],
            "commands": self._commands.total(),
            "repeated_commands": self._repeats,
            "rejected": dict(sorted(self._rejected.items())),
            "seconds": round(seconds, 3),
            "items_per_s": round(self.items / seconds),
        }


def _broken(error: OrderBroken, counts: HistoryCounts) -> str:
    return (
        f"the log's order would break at position {error.position:,}: something else was recorded since this history "
        f"began, for example by a running `serve` that gets live pings; {FRESH}, and send nothing until it is done "
        f"{counts.so_far()}"
    )
