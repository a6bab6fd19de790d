"""Removes known secrets from every message and log line, for servers and libraries that quote them.

This is the second guard. The first is that no message is built from a secret: see ``settings/addresses.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MIN_SECRET_CHARS = 8
MIN_LETTERS = 16
"""Letters alone are taken for a word below this length, which is the least that a token has."""
HIDDEN = "***"

_known: set[str] = set()
_pattern: re.Pattern[str] | None = None


def remember(secrets: Iterable[str]) -> None:
    """From now on ``redact`` removes these secrets from every text of this process.

    Words and short secrets are exempt: with the password ``ridelog`` each line that names the program would be garbled.
    A long secret of letters alone is none: generators make such tokens too.
    """
    global _pattern
    found = {one for one in secrets if len(one) >= (MIN_LETTERS if one.isalpha() else MIN_SECRET_CHARS)}
    if found <= _known:
        return
    _known.update(found)
    # The longest first: one secret can be part of another.
    _pattern = re.compile("|".join(map(re.escape, sorted(_known, key=len, reverse=True))))


def redact(text: str) -> str:
    """``text`` with every secret that is known replaced by HIDDEN."""
    return text if _pattern is None else _pattern.sub(HIDDEN, text)
