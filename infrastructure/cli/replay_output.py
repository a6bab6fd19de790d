"""Prints what ``replay`` finds: tables for people, one JSON document for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from domain.timestamps import utc_datetime
from infrastructure.cli.output import cell, echo

if TYPE_CHECKING:
    from infrastructure.replay.all_keys import FullReplay
    from infrastructure.replay.diff import DiffFindings
    from projections.replay.diff import DifferenceStart

SHOWN = 50


def one(document: dict[str, Any], as_json: bool) -> None:
    """Print one key."""
    if as_json:
        _print_json(document)
        return
    _as_of(document)
    if "values" in document:
        _pairs(document["values"])
    for name, rows in document.get("tables", {}).items():
        echo(f"{name}: {len(rows)} rows")
        _table(rows)
    if "parked" in document:
        echo(f"parked: {document['parked']}")


def everything(found: FullReplay, as_json: bool) -> None:
    """Print all keys: the rows, or the files that they were written to."""
    if as_json:
        rows = {} if found.files else {name: list(found.rows(name)) for name in found.tables}
        _print_json(found.document | rows)
        return
    _as_of(found.document)
    if not found.files:
        for name in found.tables:
            _table(list(islice(found.rows(name), SHOWN)))
    shown = f"{found.document['keys']:,} keys, {found.document['events_folded']:,} events"
    parked = found.document["parked"]
    if parked:
        shown += f"; {len(parked):,} parked: {', '.join(parked[:5])}"
    written = ", ".join(map(str, found.files))
    where = f"written to {written}" if written else f"shown are the first {SHOWN} rows; for all use --json or --out"
    echo(f"{shown}; {where}")


def explained(document: dict[str, Any], as_json: bool) -> None:
    """Print the window of one key."""
    if as_json:
        _print_json(document)
        return
    _as_of(document)
    echo("the events that count, in order:")
    names = [
        *("event_timestamp_ms", "version", "position", "schema_id", "received_late_ms", "latitude", "longitude"),
        *("accuracy_meters", "speed_mps", "weight", "rejected"),
    ]
    _table([{name: row.get(name) for name in names} for row in document["window"]])
    late = document["too_late"]
    echo(f"too late, among the latest {document['looked_at']:,} events: {len(late)}")
    _table(late[-SHOWN:])
    if document["values"] is not None:
        echo("values:")
        _pairs(document["values"])
    if document["parked"] is not None:
        echo(f"parked: {document['parked']}")


def stepped(document: dict[str, Any], as_json: bool) -> None:
    """Print the values after each event."""
    if as_json:
        _print_json(document)
        return
    _as_of(document)
    hidden = {"rider_id", "age_ms", "status", "version", "position"}
    _table(
        [
            {"version": s["version"], "position": s["position"]}
            | {name: value for name, value in s["row"].items() if name not in hidden}
            for s in document["steps"]
        ]
    )


def differing(found: DiffFindings, as_json: bool) -> None:
    """Print the difference of two replays."""
    difference = found.difference
    if as_json:
        _print_json(
            {
                "left": found.left,
                "right": found.right,
                "same": difference.same,
                "compared": difference.compared,
                "differing": difference.differing,
                "only_left": difference.only_left,
                "only_right": difference.only_right,
                "apart": {name: spread._asdict() for name, spread in difference.spreads().items()},
                "null_on_one_side": difference.null_on_one_side,
                "examples": [
                    example._asdict() | {"first_event": _since_document(found.first.get(example.key))}
                    for example in difference.examples
                ],
            }
        )
        return
    echo(f"left:  {found.left}")
    echo(f"right: {found.right}")
    echo(
        f"{difference.compared:,} keys compared: {difference.differing:,} differ, {difference.only_left:,} are only in "
        f"left, {difference.only_right:,} only in right"
    )
    _table([{"column": name} | spread._asdict() for name, spread in difference.spreads().items()])
    for name, count in difference.null_on_one_side.items():
        echo(f"{name}: unknown on one side only, for {count:,} keys")
    for example in difference.examples:
        changes = [f"{name} {_side(example.left, name)} → {_side(example.right, name)}" for name in example.columns]
        since = _since_text(found.first.get(example.key))
        echo(f"  {example.key}: {'; '.join(changes)}{since}")


def _side(row: Mapping[str, Any] | None, name: str) -> str:
    return "nothing" if row is None else "null" if row[name] is None else _cell(row[name])


def _since_document(since: DifferenceStart | None) -> dict[str, Any] | None:
    return None if since is None else since._asdict()


def _since_text(since: DifferenceStart | None) -> str:
    if since is None:
        return ""
    if since.side == "before":
        return " (since long before)"
    where = {"left": ", which counts only in left", "right": ", which counts only in right"}.get(since.side, "")
    return f" (since version {since.version:,}, position {since.position:,}{where})"


def _as_of(document: Mapping[str, Any]) -> None:
    moment = utc_datetime(document["at_ms"]).isoformat(timespec="milliseconds")
    echo(
        f"{document['projection']} (fold version {document['fold_version']}) on the axis {document['axis']} as of "
        f"{moment}, position {document['position']:,}"
    )


def _pairs(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        echo(f"  {name:20} {'' if value is None else value}")


def _table(rows: Iterable[Mapping[str, Any]]) -> None:
    listed = list(rows)
    if not listed:
        return
    table = Table(*map(escape, listed[0]), box=None, pad_edge=False)
    for row in listed:
        table.add_row(*(cell("" if value is None else _cell(value)) for value in row.values()))
    # Off a terminal long lines do no harm, but wrapped cells break programs that read the output.
    Console(soft_wrap=True, width=None if sys.stdout.isatty() else 400).print(table)


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    # Seven decimals of a degree are about a centimetre.
    return f"{value:.7f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _print_json(document: Any) -> None:
    echo(msgspec.json.encode(document))
