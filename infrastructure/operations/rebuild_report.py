"""Describes how a rebuild ended: as JSON for programs, and in lines for people that end with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from projections.rebuild.rebuild_outcome import RebuildOutcome, RebuildParkedKey

SHOWN_PARKED = 50


def document(outcome: RebuildOutcome) -> dict[str, Any]:
    """The outcome as ``--json`` prints it."""
    return {
        "projection": outcome.live.projection,
        "verdict": outcome.verdict,
        "live_generation": outcome.live.number,
        "new_generation": outcome.new.number,
        "fold_versions": {"live": outcome.live.fold_version, "new": outcome.new.fold_version},
        "comparison": None if outcome.comparison is None else outcome.comparison.document(),
        "parked": [{"key": one.key, **one.event._asdict()} for one in outcome.parked],
    }


def lines(outcome: RebuildOutcome) -> Iterator[str]:
    """The outcome for people; the last line says what to do next."""
    found = outcome.comparison
    if found is not None:
        events = sum(found.fences.values())
        yield (
            f"compared generation {found.new} with {found.live} at equal fences: {events:,} events, "
            f"{found.keys:,} keys, {found.rows:,} rows, {found.parked:,} parked, {found.differing:,} differences"
        )
        for example in found.examples:
            yield f"  shard {example.shard:2}  {example.name}: {example.words}"
        if found.differing > len(found.examples):
            yield f"  … and {found.differing - len(found.examples):,} more"
    if outcome.parked:
        yield f"{len(outcome.parked):,} keys are parked, each at an event that cannot be folded:"
        yield from (_parked(one) for one in outcome.parked[:SHOWN_PARKED])
    yield _verdict(outcome)


def _parked(one: RebuildParkedKey) -> str:
    event = one.event
    return f"  {one.key}: position {event.position}, version {event.version}, {event.kind}: {event.reason}"


def _verdict(outcome: RebuildOutcome) -> str:
    name, new, live = outcome.live.projection, outcome.new.number, outcome.live.number
    digest = outcome.comparison.digest if outcome.comparison is not None else ""
    return {
        "switched": f"readers use generation {new}; {live} is kept up to date for `rollback-projection {name}`",
        "equal": f"generation {new} was equal to {live}; nothing was switched",
        "differs": f"generation {new} differed from {live}; nothing was switched",
        "blocked": (
            f"NOT switched: the same fold version must give the same result (generation {new} is kept).\n"
            f"Run `verify-parity {name}` to find out which of the two agrees with the log. If the live one is damaged, "
            f"run\n"
            f"  python app.py rebuild-projection {name} --live-is-damaged {digest}"
        ),
        "needs acceptance": (
            f"NOT switched: if the new fold is meant to cause these differences, run\n"
            f"  python app.py rebuild-projection {name} --accept-differences {digest}"
        ),
    }[outcome.verdict]


def task_result(outcome: RebuildOutcome) -> dict[str, Any]:
    """The outcome as it is recorded with a task that was requested over HTTP: ``detail`` says what to do next."""
    found = outcome.comparison
    return {
        "verdict": outcome.verdict,
        "ready": outcome.ready,
        "live_generation": outcome.live.number,
        "new_generation": outcome.new.number,
        "differences": None if found is None else found.differing,
        "digest": None if found is None or found.clean else found.digest,
        "parked": len(outcome.parked),
        "detail": _task_detail(outcome),
    }


def _task_detail(outcome: RebuildOutcome) -> str:
    name, new, live = outcome.live.projection, outcome.new.number, outcome.live.number
    if outcome.verdict == "switched":
        return f"readers follow generation {new}; {live} is kept up to date, so that you can roll back"
    if outcome.ready:
        return f"generation {new} equals {live} and is kept up to date: switch readers to it"
    found = outcome.comparison
    differing = 0 if found is None else found.differing
    match outcome.verdict:
        case "blocked":
            return (
                f"generation {new} differs from {live} in {differing:,} places, but the same fold version must give "
                f"the same result: run `verify-parity {name}`; switch with the digest only if the live one is damaged"
            )
        case "needs acceptance":
            return (
                f"generation {new} differs from {live} in {differing:,} places: read the differences, and switch with "
                "their digest if the new fold version is meant to make them"
            )
        case "equal":
            return f"generation {new} equalled {live}; it was dropped, as only a comparison was asked for"
        case _:
            return f"generation {new} differed from {live} in {differing:,} places; it was dropped, as only asked"
