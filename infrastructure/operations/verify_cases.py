"""Compares every stored case file with the one that the log gives, byte for byte, for ``verify-parity``.

A rider is folded once, up to the last event that changed one of the stored files: the table has all of its cases as of
there, since it is read in one snapshot. Riders without an alert are not folded; ``rebuild-projection --verify-only``
compares them too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import Engine

from domain.timestamps import utc_datetime
from infrastructure.backends import Backends
from infrastructure.errors import UserError
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.replay.cases import CaseReplay
from projections.core.projection import Projection
from projections.parity.case_files import CaseVerdict, compare_cases
from projections.rebuild.generations import active
from projections.replay.as_of import AsOf
from read_models.fraud.queries import CaseSource, stored_files

MAX_EXAMPLES = 20
FETCHED_ROWS = 500
"""Rows that are in memory at a time (invariant 15): about ten megabytes at their largest."""


@dataclass
class CaseFindings:
    """What a verification found. ``examples``: the first differences, in words."""

    generation: int
    files: int = 0
    riders: int = 0
    events: int = 0
    totals: Counter[CaseVerdict] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)


def verify_cases(
    backends: Backends, projection: Projection[Any], since_ms: int, on_rider: Callable[[CaseFindings], None]
) -> CaseFindings:
    """Compare the files of every rider who has an alert that was raised at ``since_ms`` (epoch milliseconds) or later.

    Raises UserError if other code made the files; Unresolvable, PortUnavailable, RegistryUnavailable.
    """
    replay = CaseReplay(backends, projection)
    generation = active(backends.generations.all(projection.name))
    if generation is None:
        raise UserError(f"{projection.name} has not run yet: there is nothing to compare")
    if not generation.is_of(projection):
        raise UserError(
            f"generation {generation.number} of {projection.name} was made by other code (fold version "
            f"{generation.fold_version}): compare with that version of the program, or run "
            f"`rebuild-projection {projection.name}`"
        )
    found = CaseFindings(generation.number)
    for rider_id, rows in _by_rider(backends.engine, replay.source, since_ms):
        stored = {alert_id: file for alert_id, (_, file) in rows.items()}
        last = max(position for position, _ in rows.values())
        replayed = replay.of_rider(rider_id, AsOf.at_position(last))
        found.files += len(stored)
        found.riders += 1
        found.events += replayed.events
        for alert_id, verdict in compare_cases(stored, replayed.files):
            found.totals[verdict] += 1
            if len(found.examples) < MAX_EXAMPLES:
                found.examples.append(f"alert {alert_id} of {rider_id!r}: {verdict}")
        on_rider(found)
    return found


def _by_rider(
    engine: Engine, source: CaseSource, since_ms: int
) -> Iterator[tuple[str, Mapping[str, tuple[int, bytes]]]]:
    """Each rider with the position and the file of each alert, by rider id, of one snapshot of the table."""
    query = stored_files(source, utc_datetime(since_ms))
    with unavailable_as_port_error(), engine.connect() as connection:
        rows = connection.execution_options(yield_per=FETCHED_ROWS).execute(query)
        for rider_id, of_rider in groupby(rows, key=lambda row: str(row.rider_id)):
            yield rider_id, {row.alert_id: (row.position, bytes(row.file)) for row in of_rider}


def lines(name: str, found: CaseFindings, seconds: float) -> list[str]:
    """The totals, and examples of differences."""
    if not found.files:
        return [f"nothing to compare: generation {found.generation} of {name} has no alerts (see --since)"]
    different = found.totals.total()
    summary = (
        f"{found.files:,} case files of {found.riders:,} riders in generation {found.generation} of {name}: "
        f"{different:,} differ from the log; {found.events:,} events folded in {seconds:.1f} s"
    )
    return [summary, *found.examples]


def document(name: str, found: CaseFindings, seconds: float) -> Mapping[str, object]:
    """The findings as a JSON document."""
    return {
        "projection": name,
        "generation": found.generation,
        "files": found.files,
        "riders": found.riders,
        "differences": {verdict.replace(" ", "_"): found.totals[verdict] for verdict in CaseVerdict},
        "events_folded": found.events,
        "seconds": round(seconds, 3),
        "examples": found.examples,
    }


def advice(name: str, found: CaseFindings) -> str:
    """One line that says what to do; "" if nothing is wrong."""
    if not found.totals:
        return ""
    return (
        f"{found.totals.total():,} case files of generation {found.generation} differ from the log: they must not be "
        f"used against anybody; run `rebuild-projection {name}`"
    )
