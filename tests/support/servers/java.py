"""Fetches the jars of programs from Maven Central, once for each checkout."""

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
    """Maven is installed and has failed. The message ends with its output."""


def missing() -> str | None:
    """Why Java programs cannot run on this machine, or None."""
    lacking = [program for program in ("java", "mvn") if shutil.which(program) is None]
    return f"{' and '.join(lacking)} not found: install Java 17 and Maven" if lacking else None


def jars(name: str) -> Path:
    """The folder of the jars that ``deploy/<name>/pom.xml`` names, fetched unless this version has been fetched.

    If two sessions of one checkout call this at the same time, one fetches and the other waits. Raises FetchError.
    """
    pom = ROOT / "deploy" / name / "pom.xml"
    version = hashlib.sha256(pom.read_bytes()).hexdigest()[:16]
    HOME.mkdir(exist_ok=True)
    with (HOME / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = HOME / f"{name}-{version}"
        if not folder.is_dir():
            # Renamed when complete: an aborted fetch must not look like one that has all jars.
            part = HOME / f"{name}-{version}.part"
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
