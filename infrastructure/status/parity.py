"""The line of what was served and checked. Pure."""

from __future__ import annotations

from infrastructure.status.judge import Line
from projections.parity.served import Tally


def parity_line(projection: str, tally: Tally) -> Line:
    """Red while a mismatch is on record for the generation that readers follow: what they are given is wrong."""
    if not tally.checked and not tally.unchecked and not tally.mismatches:
        return Line("parity", "no served reads on record", None)
    state = f"{tally.checked:,} checked, {tally.mismatches:,} different, {tally.unchecked:,} unchecked"
    advice = ""
    if tally.mismatches:
        wrong = f"generation {tally.generation} is not what the log says"
        advice = f"{wrong}: verify-parity, then rebuild-projection {projection}"
    return Line("parity", state, None, advice=advice)
