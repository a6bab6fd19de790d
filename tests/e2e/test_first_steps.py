"""What a new user sees of ``serve``, in order."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from infrastructure.embedded.data_dir import read_run_info
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s


@contextmanager
def serve(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "app.py"), "serve", "--port", "0", *arguments],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=scaled_s(40))
        finally:
            process.kill()


@pytest.mark.parametrize(("only", "ready"), [((), 200), (("--only", "api"), 503)], ids=["everything", "the API alone"])
def test_ridelog_is_ready_when_serve_prints_that_it_is(tmp_path: Path, only: tuple[str, ...], ready: int) -> None:
    with serve(tmp_path, *only) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ridelog is ready; stop it with Ctrl-C\n"
        info = read_run_info(tmp_path / ".ridelog")
        assert info is not None
        assert httpx.get(f"{info.http_url}/health/ready", trust_env=False).status_code == ready
