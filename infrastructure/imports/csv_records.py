"""Splits CSV text into records of bounded size. An unclosed quote loses only the line that opened it."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

DELIMITERS = (",", ";", "\t", "|")
MAX_LINE_CHARS = 65_536
"""Bounds the memory for a file without line breaks."""
MAX_RECORD_LINES = 100
"""Maximum number of lines of a quoted cell. A longer one counts as an unclosed quote: otherwise it would swallow the
rest of the file."""

_SEPARATOR_LINE = re.compile(r'"?sep=(?P<delimiter>[^\r\n])"?\s*', re.IGNORECASE)


class CsvRecord(NamedTuple):
    """The cells of a record, or the ``problem`` because of which its first line is not a record. Lines count from 1."""

    first_line: int
    last_line: int
    cells: list[str]
    problem: str = ""


class _LineTooLong(Exception):
    """A line has more than MAX_LINE_CHARS."""


class _TooManyLines(Exception):
    """A quoted cell spans more than MAX_RECORD_LINES."""


class CsvRecords:
    """Iterates over the records of a text. The ``sep=`` line determines the delimiter, else the header does.

    The csv module's Sniffer is not used: it guesses from the data, where decimal commas outnumber semicolons, and its
    regular expressions take minutes on some files. The column names are known, so the header decides.
    """

    def __init__(self, readline: Callable[[int], str], known_names: Collection[str]) -> None:
        """``readline`` is that of a text file opened with ``newline=""``; ``known_names`` are column names."""
        self._lines = _Lines(readline)
        self.delimiter = self._lines.delimiter(known_names)
        # Strict: otherwise an unclosed last quote would silently turn the rest of the file into one cell.
        self._reader = csv.reader(self._lines, delimiter=self.delimiter, strict=True)

    @property
    def line(self) -> int:
        """The number of the last line read."""
        return self._lines.number

    def __iter__(self) -> Iterator[CsvRecord]:
        return self

    def __next__(self) -> CsvRecord:
        """The next record; an empty line has no cells. Raises StopIteration, and what ``readline`` raises."""
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
        lines.unread_all_but_first()
        return CsvRecord(
            first, first, [], f"no valid row at line {first}: a quote is misplaced or not closed: {reason}"
        )


class _Lines:
    """Physical lines. Those of the current record are kept, so that they can be read again if it is not valid."""

    def __init__(self, readline: Callable[[int], str]) -> None:
        self._readline = readline
        self._unread: deque[str] = deque()
        self.of_record: list[str] = []
        self.number = 0
        self.at_end = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.of_record) >= MAX_RECORD_LINES:
            raise _TooManyLines
        reread = bool(self._unread)
        line = self._unread.popleft() if reread else self._readline(MAX_LINE_CHARS + 1)
        if not line:
            self.at_end = True
            raise StopIteration
        self.number += 1
        self.of_record.append(line)
        if len(line) > MAX_LINE_CHARS and not line.endswith(("\n", "\r")):
            if not reread:
                self._skip_rest()
            raise _LineTooLong
        return line

    def unread_all_but_first(self) -> None:
        """Return all lines of this record but the first, so that they are read again."""
        rest = self.of_record[1:]
        self._unread.extendleft(reversed(rest))
        self.number -= len(rest)
        self.at_end = False

    def delimiter(self, known_names: Collection[str]) -> str:
        """The delimiter of the cells. Skips empty lines before the header, and a ``sep=`` line."""
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
        self._unread.appendleft(self.of_record[0])
        self.number -= 1
        return max(DELIMITERS, key=lambda delimiter: _score(line, delimiter, known_names))

    def _skip_rest(self) -> None:
        while (part := self._readline(MAX_LINE_CHARS)) and not part.endswith(("\n", "\r")):
            pass  # bounded by the file; the text is dropped


def _score(header: str, delimiter: str, known_names: Collection[str]) -> tuple[int, int]:
    """How many column names of a header are known with this delimiter, and how many there are."""
    try:
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    except csv.Error:
        return 0, 0
    return sum(name in known_names for name in names), len(names)
