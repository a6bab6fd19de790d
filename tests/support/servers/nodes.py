"""Starts nodes that each run a part of ridelog by ``serve --only``, on external servers, as compose does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from infrastructure.embedded.data_dir import read_run_info
from infrastructure.settings.settings import Settings
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually

TOKENS = "ingest=put,read=get,admin=all"


class ServeNode:
    """A ``serve --only`` that gets all settings from its environment, like a container."""

    def __init__(self, only: str, settings: Settings, folder: Path, **more: str) -> None:
        self.name = only
        self._http = httpx.Client(timeout=30, trust_env=False)
        self._folder = folder
        env = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
        env |= settings.environment() | {"RIDELOG_DATA_DIR": str(folder), "RIDELOG_PORT": "0", **more}
        self._log = folder.with_suffix(".log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "app.py", "serve", "--only", only], cwd=ROOT, env=env, stdout=self._log, stderr=self._log
        )

    def url(self) -> str:
        if self.process.poll() is not None:
            raise AssertionError(Path(self._log.name).read_text())
        info = read_run_info(self._folder)
        return "" if info is None else info.http_url

    def get(self, path: str, token: str = "get") -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return self._http.get(f"{self.url()}{path}", headers=headers)

    def post(self, path: str, body: object, token: str = "put") -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"}
        return self._http.post(f"{self.url()}{path}", json=body, headers=headers)

    def is_ready(self) -> bool:
        try:
            return bool(self.url()) and self.get("/health/ready", token="").status_code == 200
        except httpx.TransportError:
            return False

    def samples(self) -> dict[str, float]:
        """What Prometheus would scrape: sample with its labels -> value."""
        text = self.get("/metrics").raise_for_status().text
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def stop(self) -> int:
        self._http.close()
        self.process.terminate()
        try:
            return self.process.wait(timeout=scaled_s(40))
        finally:
            self.process.kill()
            self._log.close()


def metric_of(sample: str) -> str:
    """``ridelog_x_bucket{le="1"}`` -> ``ridelog_x_bucket``."""
    return re.split(r"[{ ]", sample, maxsplit=1)[0]


@contextmanager
def nodes(settings: Settings, folder: Path, names: Sequence[str]) -> Iterator[Mapping[str, ServeNode]]:
    """The nodes, ready, on every address of this machine and therefore with tokens. They are stopped at the end."""
    with ExitStack() as stack:
        found: dict[str, ServeNode] = {}
        for name in names:
            more = {"RIDELOG_HOST": "0.0.0.0", "RIDELOG_TOKENS": TOKENS}
            found[name] = ServeNode(name, settings, folder / name, **more)
            stack.callback(found[name].stop)
        for node in found.values():
            eventually(node.is_ready, within_s=60, what=f"{node.name} is ready")
        yield found
