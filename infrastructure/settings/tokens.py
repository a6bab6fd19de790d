"""Parses the setting ``tokens``: the tokens of clients and their roles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, cast, get_args

from infrastructure.settings.sources import SettingsError

Role = Literal["ingest", "dispatch", "read", "review", "metrics", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

MIN_TOKEN_CHARS: Final = 16
"""A shorter token can be guessed. This version warns of it."""

SHORT_TOKENS_REFUSED_FROM: Final = "0.2.0"

MAX_TOKEN_CHARS: Final = 4_096
"""A token is sent in one header, whose size is limited."""

_EXAMPLE: Final = "ingest=…,read+dispatch=…,metrics=…,admin=…"
_NESTED_ITEM: Final = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(ROLES)})(?:\+[a-z]+)*=")
"""Found inside a token if a list is separated by something else than a comma."""


def parse_tokens(text: str) -> dict[str, frozenset[Role]]:
    """``ingest=a,read+dispatch=b`` -> {"a": {"ingest"}, "b": {"read", "dispatch"}}.

    Raises SettingsError for everything else, also for blanks and empty items: a list that is parsed differently from
    what its author meant grants or denies access wrongly. The message never shows a token.
    """
    tokens: dict[str, frozenset[Role]] = {}
    for index, item in enumerate(text.split(","), start=1):
        if (fault := _fault(item)) is not None:
            raise SettingsError(f"tokens: item {index} {fault}; write {_EXAMPLE} with the roles {', '.join(ROLES)}")
        roles, _, token = item.partition("=")
        if token in tokens:
            raise SettingsError(
                f"tokens: item {index} repeats the token of another item; "
                "give each its own, or one token several roles: read+dispatch=…"
            )
        tokens[token] = frozenset(cast("list[Role]", roles.split("+")))
    return tokens


def short_tokens_warning(tokens: Mapping[str, frozenset[Role]]) -> str | None:
    """One line if a token has fewer than MIN_TOKEN_CHARS characters, which a later version refuses."""
    short = sorted("+".join(sorted(roles)) for token, roles in tokens.items() if len(token) < MIN_TOKEN_CHARS)
    if not short:
        return None
    return (
        f"RIDELOG_TOKENS: {len(short)} of {len(tokens)} tokens ({', '.join(short)}) have fewer than {MIN_TOKEN_CHARS} "
        f"characters and can be guessed; version {SHORT_TOKENS_REFUSED_FROM} refuses them: make new ones, for instance "
        "with `openssl rand -hex 24`"
    )


def _fault(item: str) -> str | None:
    """What is wrong with one item, None if nothing is."""
    if not item:
        return "is empty"
    if not (item.isascii() and item.isprintable()) or " " in item:
        return "has a blank, a control character or one that is not ASCII"
    roles, equals, token = item.partition("=")
    if not equals or not token:
        return "is not role=token"
    names = roles.split("+")
    if not set(names) <= set(ROLES):
        return "has an unknown role"
    if len(set(names)) < len(names):
        return "names a role twice"
    if len(token) > MAX_TOKEN_CHARS:
        return f"has a token of more than {MAX_TOKEN_CHARS:,} characters"
    if _NESTED_ITEM.search(token):
        return "has another item in its token: items are separated by commas"
    return None
