"""Programs from Maven Central: their jars, fetched once a checkout, and the reason where they cannot be had."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

from tests.support.servers.serving import ROOT

HOME = ROOT / ".java"
TIMEOUT_S = 600.0


class FetchError(Exception):
    """Maven is here and has failed; the message ends with what it said."""


def missing() -> str | None:
    """Why nothing can run here that is written in Java, or None."""
    lacking = [program for program in ("java", "mvn") if shutil.which(program) is None]
    return f"{' and '.join(lacking)} not found: install Java 17 and Maven" if lacking else None


def jars(name: str) -> Path:
    """The folder of jars that ``deploy/<name>/pom.xml`` names, fetched unless they are there for this very file.

    Two sessions of one checkout may ask at once: one fetches, the other waits. Raises FetchError.
    """
    pom = ROOT / "deploy" / name / "pom.xml"
    mark = hashlib.sha256(pom.read_bytes()).hexdigest()[:16]
    HOME.mkdir(exist_ok=True)
    with (HOME / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = HOME / f"{name}-{mark}"
        if not folder.is_dir():
            # Renamed when whole: a fetch that was broken off must not pass for one that has all jars.
            part = HOME / f"{name}-{mark}.part"
            shutil.rmtree(part, ignore_errors=True)
            _copy_dependencies(pom, part)
            part.rename(folder)
    return folder


def _copy_dependencies(pom: Path, folder: Path) -> None:
    command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0 or not folder.is_dir():
        raise FetchError(
            f"{' '.join(command)} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
