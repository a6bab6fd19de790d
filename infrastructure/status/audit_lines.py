"""Status lines of the audits: what was served compared with the log. Pure."""

from __future__ import annotations

from infrastructure.status.lines import StatusLine
from projections.parity.city_findings import CityFindings
from projections.parity.served_etas import EtaTally
from projections.parity.served_reads import ReadTally


def parity_line(projection: str, tally: ReadTally) -> StatusLine:
    """Red while a mismatch of the generation that readers follow is on record: its answers are wrong."""
    if not tally.checked and not tally.unchecked and not tally.mismatches:
        return StatusLine("parity", "no served reads on record", None)
    state = f"{tally.checked:,} checked, {tally.mismatches:,} different, {tally.unchecked:,} unchecked"
    advice = ""
    if tally.mismatches:
        wrong = f"generation {tally.generation} differs from the log"
        advice = f"{wrong}: run verify-parity, then rebuild-projection {projection}"
    return StatusLine("parity", state, None, advice=advice)


def eta_parity_line(tally: EtaTally) -> StatusLine:
    """Red while a mismatch of this code and of the generations that are read now is on record."""
    if not tally.checked and not tally.unchecked:
        return StatusLine("eta parity", "no served ETAs on record", None)
    state = f"{tally.checked:,} checked, {tally.mismatches:,} different, {tally.unchecked:,} unchecked"
    advice = "ETAs differ from the log: run verify-parity eta" if tally.mismatches else ""
    return StatusLine("eta parity", state, None, advice=advice)


def city_audit_line(findings: CityFindings) -> StatusLine:
    """Red while a snapshot of the generations that the city is merged from is known to differ from the log."""
    if not findings.checked:
        return StatusLine("city audit", "no city snapshots audited", None)
    state = f"{findings.checked:,} checked, {findings.different:,} different, {findings.behind:,} to go"
    advice = ""
    if findings.different:
        generations = ", ".join(
            f"generation {number} of {name}" for name, number in sorted(findings.generations.items())
        )
        advice = f"the city of {generations} differs from the log: run verify-parity city"
    return StatusLine("city audit", state, None, advice=advice)
