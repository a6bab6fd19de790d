"""Runs the command line in the test's own process, so that a test with many commands imports everything only once.

Signals, starts and exits need a separate process, see ``Ridelog.cli``.
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

EXTERNAL_SERVER = "INFO    serve: external server: "
"""In the log lines that ``serve`` writes for its external servers once all of them have answered."""


def run_here(arguments: Sequence[str], env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``python app.py ARGUMENTS`` with this environment and no other ``RIDELOG_…``."""
    unset = {name: None for name in os.environ if name.startswith("RIDELOG_")}
    here, streams = contextlib.chdir(cwd), CliRunner().isolation(env={**unset, **env})
    with here, streams as (output, errors, _), _argv(arguments), _log_levels_restored():
        code = _exit_code()
        sys.stdout.flush()
        sys.stderr.flush()
        return subprocess.CompletedProcess(arguments, code, output.getvalue().decode(), errors.getvalue().decode())


def _exit_code() -> int:
    with pytest.raises(SystemExit) as end:
        main()
    code = end.value.code
    assert code is None or isinstance(code, int), code
    return code or 0


@contextlib.contextmanager
def _log_levels_restored() -> Iterator[None]:
    """Restore the log levels. A command with a progress bar logs only errors until its process ends; this one stays."""
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
