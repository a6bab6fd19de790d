"""The command line within the test's own process: a test that asks many questions pays once for all that is imported.

What only a process of its own can show (signals, how it starts and ends) is asked of one, see ``Ridelog.cli``.
"""

from __future__ import annotations

import contextlib
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
    with contextlib.chdir(cwd), CliRunner().isolation(env={**ours, **env}) as (said, errors, _), _argv(arguments):
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
def _argv(arguments: Sequence[str]) -> Iterator[None]:
    before = sys.argv
    sys.argv = ["app.py", *arguments]
    try:
        yield
    finally:
        sys.argv = before
