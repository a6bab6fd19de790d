"""No text from a file, a server, an id or a path controls the terminal or starts a line of its own in a log."""

from __future__ import annotations

import ast
import json
import logging
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from infrastructure.cli import output
from infrastructure.cli.demo import speed_table
from infrastructure.cli.output import cell, echo, echo_json, echo_lines
from infrastructure.observability.logging import JsonFormatter, TextFormatter
from infrastructure.observability.visible_text import visible, visible_lines

EVIL = "\x1b]0;title\x07\x1b[2J\r\n\x00\x7f\x9b31m\u202egnp\u2066\u2028\ufeff\udcff\U000e0041"
ACTING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
CLI = Path(output.__file__).parent


def acts(text: str, kept: str = "") -> set[str]:
    """The characters of ``text`` that control a terminal."""
    return {one for one in text if unicodedata.category(one) in ACTING and one not in kept + "\u200c\u200d"}


def test_control_characters_are_escaped() -> None:
    assert visible("a\x1b[31m\x9b\u202e\U000e0041") == r"a\u001b[31m\u009b\u202e\udb40\udc41"
    assert visible_lines("a\nb\x1b") == "a\nb\\u001b"


@pytest.mark.parametrize("text", ["Zoë", "rider-1", "मनु\u200dष्य", "👩\u200d🚒", "日本", "~ |¬®ÿ"])
def test_readable_text_is_unchanged(text: str) -> None:
    assert visible(text) == text


@given(st.text())
def test_no_control_character_is_left_and_json_keeps_its_meaning(text: str) -> None:
    assert acts(visible(text)) == set()
    assert acts(visible_lines(text), "\n") == set()
    document = json.dumps({"text": text}, ensure_ascii=False)
    assert json.loads(visible(document)) == json.loads(document)


def test_commands_write_visible_text(capsys: pytest.CaptureFixture[str]) -> None:
    echo(EVIL)
    echo(EVIL, err=True)
    echo(json.dumps([EVIL]).encode())
    echo_lines([EVIL, EVIL])
    echo_json({"evil": EVIL})
    said = capsys.readouterr()
    assert acts(said.out + said.err, "\n") == set()
    assert len(said.out.splitlines()) == 4 + 3
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("rider", [EVIL, "[red]x[/red]", "[/nothing]", ":smile:", "[link=http://x]y[/link]", "a\\"])
def test_a_table_shows_ids_as_they_are(rider: str) -> None:
    console = Console(width=400, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(speed_table([rider], {}, {}, rider))
    shown = captured.get()
    assert acts(shown, "\n") == set()
    assert shown.count(visible_lines(rider)) == 2 if "\n" not in rider else True
    assert str(cell(rider)) == visible_lines(rider)


@pytest.mark.parametrize("formatter", [TextFormatter("p"), JsonFormatter("p")])
def test_a_log_record_is_one_line_without_control_characters(formatter: logging.Formatter) -> None:
    record = logging.makeLogRecord({"msg": "of %s", "args": (EVIL,), "rider": EVIL, "levelname": "INFO"})
    line = formatter.format(record)
    assert acts(line) == set()
    if isinstance(formatter, JsonFormatter):
        assert json.loads(line)["rider"] == EVIL


def test_commands_write_only_through_the_output_module() -> None:
    """A command's own ``typer.echo`` or ``print`` would show raw text from outside."""
    found = []
    for file in sorted(CLI.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in {"print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write", "click.echo"}:
                found.append(f"{file.name}:{node.lineno} {called}")
    assert [one for one in found if not one.startswith("output.py")] == []
