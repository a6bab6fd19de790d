"""Asks before a command does what cannot be undone, where a person can answer."""

from __future__ import annotations

import sys
from typing import Annotated, TextIO

import typer

from infrastructure.cli.output import echo
from infrastructure.errors import UserError

YesOption = Annotated[
    bool, typer.Option("--yes", help="Do not ask. Without a terminal at its input the command never asks.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]


def will_ask(*, yes: bool, terminal: TextIO | None = None) -> bool:
    """Whether ``confirm`` asks. ``terminal``: by default stdin."""
    return not yes and (sys.stdin if terminal is None else terminal).isatty()


def confirm(question: str, *, yes: bool, terminal: TextIO | None = None) -> None:
    """Ask ``question`` on stderr and read the answer, unless ``yes`` or the input is no terminal.

    ``terminal``: by default stdin. Raises UserError if the answer is not y or yes; an end of the input is none.
    """
    if not will_ask(yes=yes, terminal=terminal):
        return
    echo(f"{question} [y/N]", err=True)
    if (sys.stdin if terminal is None else terminal).readline().strip().lower() not in {"y", "yes"}:
        raise UserError("nothing was done: the answer was not yes")
