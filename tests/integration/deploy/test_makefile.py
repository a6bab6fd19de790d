"""``make`` as a new user meets it, in a directory of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A directory that has of the repository only what ``make`` asks for."""
    folder = tmp_path / "clone"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("pyproject.toml", "requirements.lock"):
        (folder / name).touch()
    return folder


def make(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=clone, capture_output=True, text=True, check=False, timeout=scaled_s(60)
    )


def test_clean_removes_every_cache_and_keeps_the_data_and_says_so(clone: Path) -> None:
    for name in (".venv", ".mypy_cache", ".pytest_cache", ".hypothesis", "ridelog.egg-info", "domain/__pycache__"):
        (clone / name).mkdir(parents=True)
    (clone / ".ridelog" / "postgres").mkdir(parents=True)
    done = make(clone, "clean")
    assert done.returncode == 0, done.stderr
    left = {str(path.relative_to(clone)) for path in clone.rglob("*")}
    assert left == {"Makefile", "pyproject.toml", "requirements.lock", "domain", ".ridelog", ".ridelog/postgres"}
    assert "kept: .ridelog" in done.stdout


@pytest.mark.parametrize("python", ["./old-python", "./no-such-python"])
def test_a_python_that_does_not_fit_is_refused_before_anything_is_made(clone: Path, python: str) -> None:
    old = clone / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make(clone, f"PYTHON={python}", "install")
    assert done.returncode != 0
    assert f"Python 3.11, 3.12 or 3.13 is needed; PYTHON={python} is none of them" in done.stdout
    assert not (clone / ".venv").exists()
