"""Text from outside as it may reach a terminal or a log: what would act on it, and not be seen, is written out."""

from __future__ import annotations

import re
import unicodedata

_JOINERS = "\u200c\u200d"
"""Parts of words and emoji in ids that people use; they move nothing."""
_ACTING = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of Unicode: controls (C0, DEL, C1), formats (bidi overrides, tags), surrogates, line separators."""
_SUSPECT = re.compile(r"[^ -~\u00a1-\u00ac\u00ae-\u05ff]")
"""Characters that are looked up one by one; most text has none of them."""


def visible(text: str) -> str:
    """``text`` with each acting character as ``\\u001b``, in the form of JSON, in which it keeps its meaning.

    ESC and C1 change colours, titles and answers of a terminal; bidi overrides show another order than that of the
    text; a line break would make a line of its own in a log. Lone surrogates cannot be written at all.
    """
    return _SUSPECT.sub(_written_out, text)


def visible_lines(text: str) -> str:
    """The same, with the line breaks ``\\n`` kept."""
    return "\n".join(map(visible, text.split("\n")))


def _written_out(match: re.Match[str]) -> str:
    character = match[0]
    if character in _JOINERS or unicodedata.category(character) not in _ACTING:
        return character
    code = ord(character)
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
