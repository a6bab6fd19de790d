"""The commands that a demo prints to be pasted into a shell."""

from __future__ import annotations

import re

from infrastructure.cli.demo import what_to_try


def test_regression_no_command_of_a_demo_has_a_character_that_a_shell_expands() -> None:
    """zsh expanded the ``?`` of an address without quotes, found no such file, and ran nothing."""
    commands = [line for line in what_to_try("http://127.0.0.1:8000").splitlines() if line.startswith("  curl ")]
    assert len(commands) == 4
    unquoted = [re.sub(r"\$\(date \+%s000\)|'[^']*'", "", command) for command in commands]
    assert not [command for command in unquoted if re.search(r"[?*\[\]&;|<>(){}]", command)], unquoted
