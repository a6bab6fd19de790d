"""``rebuild-projection --workers 2``: two processes fill the generation, and every state is that of the fold."""

from __future__ import annotations

import multiprocessing

import pytest

from domain.identifiers import SHARDS
from infrastructure.backends import open_backends
from infrastructure.operations.rebuild import MIN_EVENTS_FOR_PROCESSES, rebuilding
from infrastructure.settings.settings import Settings
from projections.core.fold import Fold
from projections.rebuild.rebuild_outcome import RebuildVerdict
from projections.speed import SPEED
from tests.support.worlds.eta_log import items_of, record
from tests.unit.simulator.scenarios import busy

ITEMS = items_of(busy(2, duration_s=600.0, until_s=400.0))


@pytest.mark.parametrize(
    ("min_events", "expected"),
    [(0, {"rebuild-0", "rebuild-1"}), (MIN_EVENTS_FOR_PROCESSES, set())],
    ids=["above the threshold", "a small log"],
)
def test_regression_a_rebuild_by_two_workers_starts_two_processes(
    settings: Settings, min_events: int, expected: set[str]
) -> None:
    """Every log of the tests was below the threshold, so that no rebuild of them had a second process."""
    seen: set[str] = set()

    def on_progress(done: int, of: int) -> None:
        seen.update(child.name for child in multiprocessing.active_children())

    record(settings, ITEMS)
    with open_backends(settings) as backends:
        backends.generations.first(SPEED)
        with rebuilding(
            settings, SPEED, workers=2, on_progress=on_progress, on_note=lambda note: None, min_events=min_events
        ) as rebuild:
            outcome = rebuild.run()
        assert outcome.verdict is RebuildVerdict.SWITCHED
        assert {name for name in seen if name.startswith("rebuild-")} == expected
        head = backends.log.head(SPEED.stream)
        events = backends.log.read_positions("Rider", range(SHARDS), 0, head.position)
        folded = dict(Fold(SPEED, backends.decode, lambda: 0).run(events, lambda _: None, (), frozenset()).encoded)
        assert folded
        sink = backends.stores.sink(SPEED, outcome.new.number)
        assert {key: state for shard in range(SHARDS) for key, state in sink.dump(shard).states.items()} == folded
