"""Records of a CSV text: bounded, and a quote that is left open costs the line that opened it and no other."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

DELIMITERS = (",", ";", "\t", "|")
MAX_LINE_CHARS = 65_536
"""Bounds the memory that a file without line breaks takes."""
MAX_RECORD_LINES = 100
"""Lines that a quoted cell may span. Past it the quote is taken for one that was left open: else it would swallow the
rest of the file."""

_SEPARATOR_LINE = re.compile(r'"?sep=(?P<delimiter>[^\r\n])"?\s*', re.IGNORECASE)


class CsvRecord(NamedTuple):
    """Cells, or the ``problem`` that keeps its first line from being a record. Lines count from 1."""

    first_line: int
    last_line: int
    cells: list[str]
    problem: str = ""


class _LineTooLong(Exception):
    """A line has more than MAX_LINE_CHARS."""


class _TooManyLines(Exception):
    """A quoted cell spans more than MAX_RECORD_LINES."""


class CsvRecords:
    """Iterates over the records of a text; the delimiter is that of its ``sep=`` line, else that of its header.

    The csv module's Sniffer is not asked: it guesses from the data, where a decimal comma outvotes the semicolon, and
    its expressions take minutes on some files. The names of the columns are known, so the header decides.
    """

    def __init__(self, readline: Callable[[int], str], known_names: Collection[str]) -> None:
        """``readline`` as that of a text file opened with ``newline=""``; ``known_names``: those of columns."""
        self._lines = _Lines(readline)
        self.delimiter = self._lines.delimiter(known_names)
        # Strict: else the rest of the file would be one cell where the last quote is left open, without a word.
        self._reader = csv.reader(self._lines, delimiter=self.delimiter, strict=True)

    @property
    def line(self) -> int:
        """The last line read."""
        return self._lines.number

    def __iter__(self) -> Iterator[CsvRecord]:
        return self

    def __next__(self) -> CsvRecord:
        """The next record, with no cells for an empty line. Raises StopIteration, and what ``readline`` raises."""
        lines = self._lines
        lines.of_record.clear()
        first = lines.number + 1
        try:
            cells = next(self._reader)
        except _LineTooLong:
            if len(lines.of_record) == 1:
                return CsvRecord(first, first, [], f"line {first} has more than {MAX_LINE_CHARS:,} characters")
            reason = f"line {lines.number} has more than {MAX_LINE_CHARS:,} characters"
        except _TooManyLines:
            reason = f"it is not closed within {MAX_RECORD_LINES} lines"
        except csv.Error as error:
            reason = "it is not closed before the end of the file" if lines.at_end else str(error)
        else:
            return CsvRecord(first, lines.number, cells)
        lines.give_back_all_but_first()
        return CsvRecord(
            first, first, [], f"no row from line {first} on: a quote is wrong there or left open: {reason}"
        )


class _Lines:
    """Physical lines, of which those of the record that is read are kept: they are read again if it is none."""

    def __init__(self, readline: Callable[[int], str]) -> None:
        self._readline = readline
        self._again: deque[str] = deque()
        self.of_record: list[str] = []
        self.number = 0
        self.at_end = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.of_record) >= MAX_RECORD_LINES:
            raise _TooManyLines
        again = bool(self._again)
        line = self._again.popleft() if again else self._readline(MAX_LINE_CHARS + 1)
        if not line:
            self.at_end = True
            raise StopIteration
        self.number += 1
        self.of_record.append(line)
        if len(line) > MAX_LINE_CHARS and not line.endswith(("\n", "\r")):
            if not again:
                self._skip_rest()
            raise _LineTooLong
        return line

    def give_back_all_but_first(self) -> None:
        """Read the lines after the first of this record again."""
        rest = self.of_record[1:]
        self._again.extendleft(reversed(rest))
        self.number -= len(rest)
        self.at_end = False

    def delimiter(self, known_names: Collection[str]) -> str:
        """What separates cells; empty lines before the header and a ``sep=`` line are passed over."""
        line = ""
        while not line.strip():
            self.of_record.clear()
            try:
                line = next(self)
            except StopIteration:
                return DELIMITERS[0]
            except _LineTooLong:
                break
        if (named := _SEPARATOR_LINE.fullmatch(line)) is not None:
            return named["delimiter"]
        self._again.appendleft(self.of_record[0])
        self.number -= 1
        return max(DELIMITERS, key=lambda delimiter: _score(line, delimiter, known_names))

    def _skip_rest(self) -> None:
        while (part := self._readline(MAX_LINE_CHARS)) and not part.endswith(("\n", "\r")):
            pass  # bounded by the file; nothing of it is kept


def _score(header: str, delimiter: str, known_names: Collection[str]) -> tuple[int, int]:
    """How many columns of a header are known with this delimiter, and how many there are."""
    try:
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    except csv.Error:
        return 0, 0
    return sum(name in known_names for name in names), len(names)
