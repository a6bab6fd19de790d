"""Escapes control characters in text from outside before it reaches a terminal or a log."""

from __future__ import annotations

import re
import unicodedata

_JOINERS = "\u200c\u200d"
"""Zero-width joiners are parts of words and emoji in real ids; they have no effect on a terminal."""
_ACTING = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories: controls (C0, DEL, C1), formats (bidi overrides, tags), surrogates, line separators."""
_SUSPECT = re.compile(r"[^ -~\u00a1-\u00ac\u00ae-\u05ff]")
"""Characters whose category is looked up one by one; most text has none of them."""


def visible(text: str) -> str:
    """Return ``text`` with each control character as a JSON escape such as ``\\u001b``; JSON keeps its meaning.

    ESC and C1 change colours, titles and answers of a terminal. Bidi overrides display the text in another order. A
    line break would start a line of its own in a log. Lone surrogates cannot be encoded at all.
    """
    return _SUSPECT.sub(_escape, text)


def visible_lines(text: str) -> str:
    """The same, but keeps the line breaks ``\\n``."""
    return "\n".join(map(visible, text.split("\n")))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in _JOINERS or unicodedata.category(character) not in _ACTING:
        return character
    code = ord(character)
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
