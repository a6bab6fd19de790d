"""What a check of served reads has found, for people and for programs. Pure."""

from __future__ import annotations

from typing import Any

from projections.parity.audit import Findings


def lines(name: str, found: Findings, seconds: float) -> list[str]:
    """Totals by verdict, and examples of what differs."""
    if not found.reads:
        return [f"nothing to check: no served reads of {name} are on record (settings served_reads_share, --since)"]
    totals = ", ".join(f"{count:,} {verdict}" for verdict, count in found.totals.items() if count)
    rate = f"{found.events:,} events folded in {seconds:.1f} s, {found.reads / max(seconds, 1e-3):,.0f} reads a second"
    told = [f"{found.reads:,} served reads of {name}: {totals}; {rate}"]
    if found.wrong_checkpoints:
        told.append(f"{found.wrong_checkpoints:,} checkpoints that live folding had left were wrong, and were replaced")
    return told + found.examples


def advice(name: str, found: Findings, generation: int | None, on_record: int) -> str:
    """One line that says what to do; "" if nothing is wrong. ``on_record``: mismatches of the active generation."""
    what = (
        f"{found.totals['different']:,} answers and {found.wrong_checkpoints:,} checkpoints were not what the log says"
    )
    if on_record:
        if not found.mismatches:
            what = f"{on_record:,} mismatches are on record"
        return f"{what}; generation {generation}, which is served, is wrong: run `rebuild-projection {name}`"
    if found.mismatches:
        old = ", ".join(map(str, sorted(found.generations)))
        return (
            f"{what}, all of generation {old}, which is not served any more: look only at what was served since, "
            "with --since, and do not roll back to it"
        )
    return ""


def document(name: str, found: Findings, seconds: float, generation: int | None, on_record: int) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "projection": name,
        "reads": found.reads,
        "verdicts": {verdict.replace(" ", "_"): count for verdict, count in found.totals.items()},
        "wrong_checkpoints": found.wrong_checkpoints,
        "events_folded": found.events,
        "seconds": round(seconds, 3),
        "reads_per_second": round(found.reads / max(seconds, 1e-3)),
        "generation": generation,
        "mismatches_on_record": on_record,
        "examples": found.examples,
    }
