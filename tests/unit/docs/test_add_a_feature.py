"""Follows "Add a feature" of docs/eta.md as a newcomer would: puts its blocks into a copy of the code and runs them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.servers.serving import ROOT
from tests.support.worlds.checkout import change

PAGE = ROOT / "docs" / "eta.md"
BLOCK = re.compile(r"```python\n# (?P<path>\S+?)(?:, after `(?P<anchor>[^`]+)`)?\n(?P<code>.*?)```", re.DOTALL)
ROOMS = ("domain", "read_models", "tests/support/eta")
PACKAGES = ("tests", "tests/support", "tests/unit", "tests/unit/domain")


def follow_the_page(folder: Path) -> list[str]:
    """Copy what is needed, and apply every block. Returns the files that were changed or made."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for package in PACKAGES:
        (folder / package).mkdir(parents=True, exist_ok=True)
        (folder / package / "__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", folder / "pyproject.toml")
    blocks = list(BLOCK.finditer(PAGE.read_text()))
    assert len(blocks) == 4
    for block in blocks:
        file = folder / block["path"]
        if block["anchor"] is None:
            file.write_text(block["code"])
        else:
            assert file.read_text().count(block["anchor"]) == 1
            change(file, f"{block['anchor']}\n", f"{block['anchor']}\n{block['code']}")
    return sorted({block["path"] for block in blocks})


RUN_TESTS = """
import tests.unit.domain.test_promise_left as module
tests = [test for name, test in vars(module).items() if name.startswith("test_")]
for test in tests:
    test()
print(len(tests), "passed")
"""
"""Without pytest, whose plugins take longer to load than the tests to run."""


def run(folder: Path, *arguments: str) -> str:
    ran = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_page_adds_a_feature_in_one_file(tmp_path: Path) -> None:
    changed = follow_the_page(tmp_path)
    assert changed == ["domain/features/eta/features.py", "tests/unit/domain/test_promise_left.py"]
    run(tmp_path, "-m", "ruff", "check", "--no-cache", *changed)
    run(tmp_path, "-m", "ruff", "format", "--check", "--no-cache", *changed)
    assert run(tmp_path, "-c", RUN_TESTS) == "4 passed\n"
