"""A sum that depends on how events came to be batched is found: rows of live batches against one pass over the log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from projections.core.fold import Fold
from projections.core.projection import Projection
from read_models.rows import RowChange, Rows, merge_into
from tests.support.ports_in_memory.parity_ports import KeyArchive
from tests.support.worlds.counting_projection import COUNTED, Count, changes
from tests.support.worlds.rider_events import START_MS


def rows(projection: Projection[Any], archive: KeyArchive, batch: int) -> Rows:
    """What a table holds after batches of so many events: each batch is merged first, as a sink's write is."""
    fold: Fold[Any] = Fold(projection, json.loads, lambda: 0)
    states: dict[str, Any] = {}
    found: Rows = {}
    for first in range(0, len(archive.events), batch):
        done = fold.run(archive.events[first : first + batch], states.get, (), ())
        states.update(done.states)
        merge_into(found, done.rows)
    return found


def floating(key: str, state: Count) -> Sequence[RowChange]:
    """The same rows with a sum of floats, whose last bit depends on what is added to what first."""
    summed: Any = state.small / 10
    return [row._replace(add=(summed, row.add[1])) for row in changes(key, state)]


def a_log() -> KeyArchive:
    archive = KeyArchive()
    for number in range(60):
        archive.append("anna", "GpsPing", {"event_timestamp_ms": START_MS + number, "small": number % 7 + 1})
    return archive


def test_sums_of_integers_are_the_same_in_any_batches() -> None:
    archive = a_log()
    whole = rows(COUNTED, archive, 60)
    assert all(rows(COUNTED, archive, batch) == whole for batch in range(1, 20))


def test_a_sum_of_floats_is_found_by_folding_in_one_pass_what_came_in_batches() -> None:
    archive = a_log()
    mutated = replace(COUNTED, changes=floating)
    whole = rows(mutated, archive, 60)
    assert any(rows(mutated, archive, batch) != whole for batch in range(1, 20))
