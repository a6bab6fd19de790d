"""The outcome of a rebuild for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from projections.rebuild_outcome import Outcome, ParkedKey

SHOWN_PARKED = 50


def document(outcome: Outcome) -> dict[str, Any]:
    """As ``--json`` prints it."""
    return {
        "projection": outcome.live.projection,
        "verdict": outcome.verdict,
        "live_generation": outcome.live.number,
        "new_generation": outcome.new.number,
        "fold_versions": {"live": outcome.live.fold_version, "new": outcome.new.fold_version},
        "comparison": None if outcome.comparison is None else outcome.comparison.document(),
        "parked": [{"key": one.key, **one.mark._asdict()} for one in outcome.parked],
    }


def lines(outcome: Outcome) -> Iterator[str]:
    """What a person reads, ending with what to do next."""
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


def _parked(one: ParkedKey) -> str:
    return f"  {one.key}: position {one.mark.position}, version {one.mark.version}, {one.mark.kind}: {one.mark.reason}"


def _verdict(outcome: Outcome) -> str:
    name, new, live = outcome.live.projection, outcome.new.number, outcome.live.number
    digest = outcome.comparison.digest if outcome.comparison is not None else ""
    return {
        "switched": f"readers follow generation {new}; {live} is kept up to date for `rollback-projection {name}`",
        "equal": f"generation {new} was equal to {live}; nothing was switched",
        "differs": f"generation {new} differed from {live}; nothing was switched",
        "blocked": (
            f"NOT switched: the same fold version must give the same result (generation {new} is kept).\n"
            f"Which of the two is what the log says, `verify-parity {name}` tells; if the live one is damaged, run\n"
            f"  python app.py rebuild-projection {name} --live-is-damaged {digest}"
        ),
        "needs acceptance": (
            f"NOT switched: if these differences are what the new fold is for, run\n"
            f"  python app.py rebuild-projection {name} --accept-differences {digest}"
        ),
    }[outcome.verdict]
