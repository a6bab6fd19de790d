"""Puts the reason for which a stage or a read waits into words for people, with what to do. Pure.

A reason is what an exception says: ``PortUnavailable: Redis: Valkey is loading the dataset in memory``. The name of its
class is for the log; a person needs what happened, whether anything is lost, and what to do.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_CLASS: Final = re.compile(r"^[A-Z]\w+: (?=\S)")
"""The name of the exception's class, as ``run_until_stopped`` puts it before the message."""
_SERVER: Final = re.compile(r"^(Redis|Postgres|Kafka): (.*)", re.DOTALL)
_DRIVER: Final = re.compile(r"^\((?:psycopg2|sqlalchemy)\.[\w.]+\) ")
"""How SQLAlchemy begins the message of an error of Postgres."""
_LOADING: Final = re.compile(r"\bloading\b", re.IGNORECASE)
_NO_MEMORY: Final = re.compile(r"^OOM\b|\bmaxmemory\b|Redis is out of memory", re.IGNORECASE)
_NO_ANSWER: Final = re.compile(
    r"refused|timed? ?out|could not connect|error \d+ connecting|connection closed|closed by server|reset by peer",
    re.IGNORECASE,
)
MAX_DETAIL_CHARS: Final = 200


class FailureText(NamedTuple):
    """``state``: what happened; ``advice``: what goes on by itself, and what to do if it does not."""

    state: str
    advice: str


def failure_text(reason: str) -> FailureText:
    """What is known of the server that a message names. ``reason``: the message, with or without its class."""
    message = reason.strip()
    if _SERVER.match(message) is None:
        message = _CLASS.sub("", message)
    first_line = message.partition("\n")[0]
    if (of_driver := _DRIVER.match(first_line)) is not None:
        return _of_server("Postgres", first_line[of_driver.end() :])
    if (of_server := _SERVER.match(first_line)) is not None:
        return _of_server(of_server[1], of_server[2])
    return FailureText(message, "it tries again by itself; if this persists, check what it names, and see its log")


def in_one_line(reason: str) -> str:
    """The same for the detail of an answer; a message that names no server stays as it is."""
    if _SERVER.match(reason) is None:
        return reason
    text = failure_text(reason)
    return f"{text.state}; {text.advice}"


def _of_server(server: str, detail: str) -> FailureText:
    if server == "Redis" and _LOADING.search(detail):
        state = "Redis has started and still loads its data"
        return FailureText(state, "nothing is lost: it goes on by itself as soon as the data is loaded")
    if server == "Redis" and _NO_MEMORY.search(detail):
        return FailureText("Redis has no free memory", "give it more memory; after that it goes on by itself")
    what = "does not answer" if _NO_ANSWER.search(detail) else "cannot be used now"
    state = f"{server} {what} ({detail[:MAX_DETAIL_CHARS]})"
    return FailureText(
        state, f"it goes on by itself once {server} answers; if this persists, check that {server} runs, and its log"
    )
