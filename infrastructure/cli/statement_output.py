"""A statement as a table in the terminal, and as an HTML page to print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from domain.features.payouts.currencies import major_text
from domain.timestamps import utc_datetime
from infrastructure.cli.output import echo

_COLUMNS = ("entry", "order", "leg", "ended (UTC)", "item", "quantity", "rate", "amount", "events")

_STYLE = """
@page { size: A4 landscape; margin: 14mm }
body { font: 10pt/1.35 system-ui, sans-serif; color: #111; margin: 2em }
h1 { font-size: 15pt } h2 { font-size: 12pt; margin-top: 1.6em }
table { border-collapse: collapse; width: 100% }
thead { display: table-header-group }
th, td { text-align: left; vertical-align: top; padding: 2px 6px; border-bottom: 1px solid #ddd }
tr { break-inside: avoid }
tr.entry td { border-top: 1px solid #777; font-weight: 600 }
.amount { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
.events { font-size: 7.5pt; color: #444; overflow-wrap: anywhere }
"""

Line = tuple[str, ...]
"""One cell a column of _COLUMNS."""


def printed(document: Mapping[str, Any]) -> None:
    """Print a statement: a table a currency, an entry a line with its items below. No line is wrapped or cut."""
    echo(f"statement of {document['rider_id']} for {document['period']}, at position {document['position']:,}")
    if not document["currencies"]:
        echo("no entries")
    for of in document["currencies"]:
        echo("")
        echo(_heading(of))
        lines = [_COLUMNS, *(line for _, line in _lines(of))]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = [
                text.rjust(width) if name == "amount" else text.ljust(width)
                for name, text, width in zip(_COLUMNS, line, widths, strict=True)
            ]
            echo("  ".join(cells).rstrip())


def page(document: Mapping[str, Any]) -> str:
    """A whole HTML page without scripts or references to any host; every text is escaped."""
    title = f"Statement of {document['rider_id']} for {document['period']}"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>",
        f"<p>Computed from the event log up to position {document['position']:,}.</p>",
    ]
    for of in document["currencies"]:
        parts.append(f"<h2>{escape(_heading(of))}</h2><table><thead><tr>")
        parts += [f"<th>{escape(name)}</th>" for name in _COLUMNS]
        parts.append("</tr></thead><tbody>")
        for is_entry, line in _lines(of):
            parts.append('<tr class="entry">' if is_entry else "<tr>")
            for name, text in zip(_COLUMNS, line, strict=True):
                kind = f' class="{name}"' if name in ("amount", "events") else ""
                parts.append(f"<td{kind}>{escape(text)}</td>")
            parts.append("</tr>")
        parts.append("</tbody></table>")
    if not document["currencies"]:
        parts.append("<p>No entries.</p>")
    return "".join([*parts, "</body></html>\n"])


def _heading(of: Mapping[str, Any]) -> str:
    currency = of["currency"] or "unknown currency"
    return f"{currency} {of['total']}  ({of['status']}; {of['payouts']:,} payouts, {of['adjustments']:,} adjustments)"


def _lines(of: Mapping[str, Any]) -> Iterator[tuple[bool, Line]]:
    """The lines of a currency: True with the first line of an entry, False with each of its items."""
    currency = of["currency"]
    for entry in of["entries"]:
        ended = utc_datetime(entry["ended_at_ms"]).strftime("%Y-%m-%d %H:%M:%S")
        what = f"{entry['seq']} {entry['kind']}"
        outcome = "" if entry["outcome"] == "completed" else f" ({entry['outcome']})"
        shown = (
            what,
            entry["order_id"],
            f"{entry['leg']}{outcome}",
            ended,
            "",
            "",
            f"tariff {entry['tariff_version']}",
        )
        yield True, (*shown, entry["amount"], entry["entry_id"])
        for item in entry["items"]:
            amount = major_text(item["amount_minor"], currency)
            quantity = _quantity(item)
            yield False, ("", "", "", "", item["item"], quantity, item.get("rate", ""), amount, _events(item["events"]))


def _quantity(item: Mapping[str, Any]) -> str:
    if "quantity" not in item:
        return ""
    before = f"{_measure(item['quantity_before'], item['unit'])} to " if "quantity_before" in item else ""
    waited = f" of {_measure(item['waited_ms'], 'ms')}" if "waited_ms" in item else ""
    return f"{before}{_measure(item['quantity'], item['unit'])}{waited}"


def _measure(quantity: int, unit: str) -> str:
    """Exactly, in units for people: 1234 mm is 1.234 m."""
    if unit in ("mm", "ms"):
        return f"{quantity // 1_000:,}.{quantity % 1_000:03d} {unit[1]}"
    return f"{quantity:,} {unit}"


def _events(events: Mapping[str, Any]) -> str:
    count = events["count"]
    if not count:
        return "none"
    if count == 1:
        return str(events["first"])
    return f"{count:,}: {events['first']} … {events['last']}"
