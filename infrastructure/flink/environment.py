"""The second Python environment, with Flink: what ``make flink`` makes, and the variables that its programs need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FOLDER = ".flink-venv"
LIB, CONF, CLIENT_CONF = "flink-lib", "flink-conf", "flink-client"
"""Folders in the environment: links to the jars with the connector, and the configurations of cluster and client."""


class FlinkEnvironment:
    """The environment in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def missing(self) -> str | None:
        """Why it cannot be used, with what to do; None if it can."""
        if not (self.folder / ".installed").is_file():
            return f"the environment of Flink, {self.folder}, is not there: run `make flink`"
        return None

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def home(self) -> Path:
        """The folder of Flink itself. Raises FileNotFoundError if the wheel is not installed."""
        found = sorted(self.folder.glob("lib/python3.*/site-packages/pyflink/bin/flink"))
        if not found:
            raise FileNotFoundError(f"{self.folder} has no Flink: run `make flink`")
        return found[0].parent.parent

    def script(self, name: str) -> Path:
        """A script of Flink: ``flink``, ``jobmanager.sh``, ``taskmanager.sh``."""
        return self.home() / "bin" / name

    def variables(self, checkout: Path, *, client: bool = False) -> Mapping[str, str]:
        """The environment variables of a JobManager and of a TaskManager, or of the ``client``.

        ``checkout``: where this project is, for the Python workers.
        """
        return {
            "FLINK_HOME": str(self.home()),
            "FLINK_LIB_DIR": str(self.folder / LIB),
            "FLINK_CONF_DIR": str(self.folder / (CLIENT_CONF if client else CONF)),
            "PYTHONPATH": str(checkout),
            "PYTHON": str(self.python),
            "PYFLINK_PYTHON": str(self.python),
            "PYFLINK_CLIENT_EXECUTABLE": str(self.python),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
