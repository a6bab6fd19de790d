"""Cells of CSV files that a spreadsheet opens: text that it would run as a formula gets an apostrophe before it.

A rider id may begin with ``=``, and the phones that send pings choose ids. A spreadsheet runs such a cell as a formula,
which can send other cells elsewhere (https://owasp.org/www-community/attacks/CSV_Injection). A number stays a number,
also a negative one. Every text can be read again as it was: one apostrophe is added to what begins, behind any
apostrophes, like a formula, and one is removed from the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

REASON: Final = ("file", "line", "code", "detail")
"""The columns that a file of rejected rows has before those of the rows."""

# The full-width forms are formulas too where a spreadsheet is set to an East Asian language.
_FORMULA: Final = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
_NUMBER: Final = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)


def shown_cell(value: object) -> object:
    """The value as a cell that no spreadsheet runs. Numbers, and text of a number, are not changed."""
    if not isinstance(value, str) or not _FORMULA.match(value) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def read_cell(cell: str) -> str:
    """The text of which ``shown_cell`` made ``cell``."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def has_shown_cells(header: Collection[str]) -> bool:
    """Whether a file with these columns was written with ``shown_cell``: it is one of rejected rows."""
    return set(REASON) <= set(header)


def read_cells(cells: Sequence[str], header: Collection[str]) -> list[str]:
    """The cells of a row of a file with this header, as they were before they were written."""
    return [read_cell(cell) for cell in cells] if has_shown_cells(header) else list(cells)
