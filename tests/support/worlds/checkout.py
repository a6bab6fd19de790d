"""A copy of the checkout that a test may change, for tests with other code."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.servers.serving import ROOT

ROOMS = ("domain", "read_models", "projections", "infrastructure", "alembic", "tests")


def copy_checkout(folder: Path) -> Path:
    """Copy everything that is needed to run into ``folder``.

    With the compiled modules: each of the processes that start at once would compile them all. A copy keeps the time of
    its source, by which Python sees that the compiled module is of it; a file that is changed is compiled.
    """
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("node_modules"))
    for file in ("app.py", "pyproject.toml", "alembic.ini"):
        shutil.copy(ROOT / file, folder / file)
    return folder


def change(file: Path, old: str, new: str) -> None:
    """Replace ``old``, which must occur, in ``file``."""
    source = file.read_text()
    assert old in source, f"{file} has no {old!r}"
    file.write_text(source.replace(old, new))
