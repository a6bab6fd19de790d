"""A place in the log that a restored or replaced log does not have."""

from __future__ import annotations

import re
import zlib
from typing import Final, NamedTuple

REFUSED_MARK: Final = "restored"
"""In the id of the last message of a stream that ended. No event has it, so that a resume there is refused again."""

_TEXT: Final = re.compile(r"([0-9]{1,19})-([0-9a-f]{8}|" + REFUSED_MARK + ")")


class LogCursor(NamedTuple):
    """A position, and a mark of the event there; without a mark the position is not verified."""

    position: int
    mark: str = ""

    def text(self) -> str:
        """Position and mark, as ``1000-1a2b3c4d``; the position alone if there is no mark."""
        return f"{self.position}-{self.mark}" if self.mark else str(self.position)

    def refused(self) -> LogCursor:
        """The same position with a mark that no log has."""
        return LogCursor(self.position, REFUSED_MARK)


def mark_of(event_id: str, recorded_at_ms: int) -> str:
    """Eight digits. A restore keeps both values; an event that is recorded again after it has another time.

    The id alone is not enough: it is derived from the content, so that a fix that is sent again has the same id.
    """
    return f"{zlib.crc32(f'{event_id}/{recorded_at_ms}'.encode()):08x}"


def parse_marked(text: str) -> LogCursor | None:
    """The cursor with a mark that ``text`` is; None if it is something else, such as a position alone."""
    found = _TEXT.fullmatch(text)
    return None if found is None else LogCursor(int(found[1]), found[2])
