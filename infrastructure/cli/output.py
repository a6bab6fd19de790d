"""Writes to the terminal. Control characters in file contents, server answers, ids and paths are made visible."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from infrastructure.observability.visible_text import visible, visible_lines
from infrastructure.settings.redaction import redact

if TYPE_CHECKING:
    from rich.text import Text


def echo(text: object, *, err: bool = False) -> None:
    """Write one line. Bytes are decoded as UTF-8, for example JSON."""
    line = text.decode() if isinstance(text, bytes) else str(text)
    typer.echo(visible(redact(line)), err=err)


def echo_exactly(data: bytes) -> None:
    """Write ``data`` as it is to a file or a pipe, without a line end; to a terminal as one line of visible text."""
    if sys.stdout.isatty():
        echo(data)
    else:
        typer.echo(data, nl=False)


def echo_lines(lines: Iterable[object], *, err: bool = False) -> None:
    """Write each of ``lines`` on its own line."""
    for line in lines:
        echo(line, err=err)


def echo_json(document: Any) -> None:
    """Write an indented JSON document."""
    echo_lines(json.dumps(document, indent=2).split("\n"))


def cell(value: object, style: str = "") -> Text:
    """A table cell with literal text: markup, emoji codes and control characters in it have no effect."""
    from rich.text import Text

    return Text(visible_lines(redact(str(value))), style=style)


class VisibleGroup(TyperGroup):
    """A command group whose usage errors are made safe to print too, because they quote arguments."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _visible_usage_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with _visible_usage_errors():
            return super().invoke(ctx)


@contextmanager
def _visible_usage_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Typer's usage error class has no public name, so the attributes identify it.
        if hasattr(error, "format_message") and isinstance(message := getattr(error, "message", None), str):
            vars(error)["message"] = visible_lines(redact(message))
        raise
