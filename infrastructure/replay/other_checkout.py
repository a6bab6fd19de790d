"""Replays by the code of another checkout, in a process of its own: one process cannot load two versions of a fold."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from infrastructure.errors import UserError
from infrastructure.replay import parquet
from infrastructure.replay.request import ReplayRequest
from infrastructure.settings.settings import Settings
from projections.replay.as_of import Horizon

TIMEOUT_S = 24 * 3600.0
_PASSED_SETTINGS = ("postgres_url", "schema_registry_url", "target_freshness_ms", "feature_ttl_ms")


class OtherCheckout:
    """Runs commands of the checkout in ``folder`` on the same event store. Raises UserError."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        if not (folder / "app.py").is_file():
            raise UserError(f"{folder} is no checkout of ridelog: it has no app.py")
        self._folder = folder
        mine = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
        # Pass only what a replay depends on: another version may not know every setting of this one.
        given = {f"RIDELOG_{n.upper()}": str(v) for n in _PASSED_SETTINGS if (v := getattr(settings, n)) is not None}
        self._env = {**mine, **given}

    def rows(self, request: ReplayRequest, workers: int, out: Path) -> Iterator[dict[str, Any]]:
        """Rows of all keys, as ``replay_all`` of this code returns them."""
        shown = ["--allow-expired"] if request.allow_expired else []
        self._run(
            "replay", request.projection, *_as_of(request.horizon), "--workers", str(workers), "--out", out, *shown
        )
        return parquet.read([out])

    def steps(self, projection: str, key: str, horizon: Horizon, latest: int) -> list[dict[str, Any]]:
        """Rows after each of the latest events of one key."""
        said = self._run("replay", projection, "--key", key, *_as_of(horizon), "--steps", str(latest), "--json")
        found: list[dict[str, Any]] = msgspec.json.decode(said)["steps"]
        return found

    def _run(self, *arguments: object) -> bytes:
        # The user named the folder on the command line; no shell is involved.
        done = subprocess.run(
            [sys.executable, "app.py", *map(str, arguments)],
            cwd=self._folder,
            env=self._env,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise UserError(f"the code in {self._folder} could not replay this: {''.join(last)}")
        return done.stdout


def _as_of(horizon: Horizon) -> list[str]:
    if horizon.axis == "position":
        return ["--position", str(horizon.position)]
    bound = ["--position", str(horizon.position)] if horizon.axis == "event" else []
    return ["--at", str(horizon.at_ms), "--axis", horizon.axis, *bound]
