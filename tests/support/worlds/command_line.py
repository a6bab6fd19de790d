"""The command line within the test's own process: a test that asks many questions pays once for all that is imported.

What only a process of its own can show (signals, how it starts and ends) is asked of one, see ``Ridelog.cli``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infrastructure.cli import main


def run_here(arguments: Sequence[str], env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """``python app.py ARGUMENTS`` with this environment and no other ``RIDELOG_…``: its exit code and what it said."""
    ours = {name: None for name in os.environ if name.startswith("RIDELOG_")}
    here, streams = contextlib.chdir(cwd), CliRunner().isolation(env={**ours, **env})
    with here, streams as (said, errors, _), _argv(arguments), _logs_as_before():
        code = _exit_code()
        sys.stdout.flush()
        sys.stderr.flush()
        return subprocess.CompletedProcess(arguments, code, said.getvalue().decode(), errors.getvalue().decode())


def _exit_code() -> int:
    with pytest.raises(SystemExit) as end:
        main()
    code = end.value.code
    assert code is None or isinstance(code, int), code
    return code or 0


@contextlib.contextmanager
def _logs_as_before() -> Iterator[None]:
    """Commands that draw a progress bar let only errors through, for the life of their process, which this is not."""
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {one: one.level for one in _loggers()}
    try:
        yield
    finally:
        root.handlers[:] = handlers
        for one in _loggers():
            one.setLevel(levels.get(one, logging.NOTSET))


def _loggers() -> list[logging.Logger]:
    known = logging.root.manager.loggerDict.values()
    return [logging.root, *(one for one in known if isinstance(one, logging.Logger))]


@contextlib.contextmanager
def _argv(arguments: Sequence[str]) -> Iterator[None]:
    before = sys.argv
    sys.argv = ["app.py", *arguments]
    try:
        yield
    finally:
        sys.argv = before
