"""``make lint``: the type checker and ESLint over the page, where Node.js is installed.

The tools are pinned in ``tests/support/web/node`` and fetched by npm into that folder. Nothing of them is needed to
install or to run Ridelog. Without Node.js, or without a registry to fetch them from, one line says that they were left
out.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
TOOLS: Final = Path(__file__).resolve().parent / "node"
LOCK: Final = TOOLS / "package-lock.json"
INSTALLED: Final = TOOLS / "node_modules" / ".installed"
MODULES: Final = TOOLS / "node_modules"

LINTED: Final = ("infrastructure/http/web", "tests/unit/web")
INSTALL_TIMEOUT_S: Final = 300
"""A registry that does not answer must not hold up the other checks for longer."""


class ToolsMissing(Exception):
    """The tools cannot be had on this machine. The message says why, and what to do."""


def install() -> None:
    """Fetch the tools that the lock names, unless they are there. Raises ToolsMissing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise ToolsMissing("Node.js is not installed: install Node.js 20 with npm")
    if INSTALLED.exists() and INSTALLED.read_bytes() == LOCK.read_bytes():
        return
    try:
        subprocess.run(["npm", "ci", "--silent"], cwd=TOOLS, check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise ToolsMissing("npm could not fetch them: run `npm ci` in tests/support/web/node") from error
    INSTALLED.write_bytes(LOCK.read_bytes())


def installed_file(path: str) -> Path | None:
    """A file of an installed tool by its path under ``node_modules``, None if it is not there."""
    found = MODULES / path
    return found if found.is_file() else None


def check() -> int:
    """Run both over the page. Returns 1 if one of them found something."""
    types = subprocess.run(
        ["node", str(MODULES / "typescript/bin/tsc"), "--project", str(TOOLS)], cwd=ROOT, check=False
    )
    rules = subprocess.run(
        ["node", str(MODULES / "eslint/bin/eslint.js"), "--config", str(TOOLS / "eslint.config.js"), *LINTED],
        cwd=ROOT,
        check=False,
    )
    return int(types.returncode != 0 or rules.returncode != 0)


def main() -> int:
    """Check the page, or say why it was not checked. Returns the exit code."""
    try:
        install()
    except ToolsMissing as error:
        print(f"the page's scripts were not checked (tsc, eslint). {error}")
        return 0
    found = check()
    if not found:
        print("the page's scripts: types and rules hold")
    return found


if __name__ == "__main__":
    sys.exit(main())
