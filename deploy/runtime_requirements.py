"""Print what ridelog needs at run time, one requirement a line, from the pyproject.toml in the current directory."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
sys.stdout.write("\n".join(project["dependencies"]) + "\n")
