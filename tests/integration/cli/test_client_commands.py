"""``import-pings`` and ``simulate`` as processes: aborted, they still report what they have done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest

from tests.support.http.fake_api import FakeApi, fake_api
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually


@contextmanager
def command(cwd: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "app.py"), *arguments],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=scaled_s(10))


def aborted(process: subprocess.Popen[str], api: FakeApi, by: Signals, *, requests: int = 1) -> tuple[str, str]:
    """What the command prints when it is aborted after so many requests have been recorded."""
    eventually(lambda: api.pings and len(api.requests) >= requests, what="something is recorded")
    process.send_signal(by)
    return process.communicate(timeout=scaled_s(40))


@pytest.mark.parametrize("by", [SIGINT, SIGTERM])
def test_an_aborted_import_reports_what_it_has_done(tmp_path: Path, by: Signals) -> None:
    track = tmp_path / "track.csv"
    lines = [f"anna,53.5,-6.{n},{1_700_000_000_000 + n * 1000}" for n in range(1000)]
    track.write_text("\n".join(["rider_id,latitude,longitude,event_timestamp_ms", *lines]))
    with (
        fake_api() as api,
        command(tmp_path, "import-pings", "--url", api.url, "--speedup", "1", "--json", str(track)) as importing,
    ):
        output, errors = aborted(importing, api, by)
    assert importing.returncode == 130
    summary = json.loads(output)
    assert summary["rows"] == summary["accepted"] == len(api.pings) > 0
    assert "repeat the import" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("by", [SIGINT, SIGTERM])
def test_an_endless_simulation_reports_at_its_end_what_it_sent(tmp_path: Path, by: Signals) -> None:
    arguments = ("--url", "URL", "--riders", "4", "--rate", "40", "--latitude", "53.35", "--longitude=-6.26", "--json")
    with fake_api() as api:
        with command(tmp_path, "simulate", *(api.url if each == "URL" else each for each in arguments)) as simulating:
            # At the second request the answer to the first has been read. An answer that Ctrl-C interrupts is rightly
            # not counted.
            output, errors = aborted(simulating, api, by, requests=2)
        assert simulating.returncode == 0, errors
        summary = json.loads(output)
        assert summary["sent"] == summary["accepted"] + summary["duplicates"] > 0
        assert all(
            abs(ping.latitude - 53.35) < 0.05 and abs(ping.longitude + 6.26) < 0.05 for ping in api.pings.values()
        )


def test_the_rate_is_that_of_all_riders_together(tmp_path: Path) -> None:
    with fake_api() as api:
        arguments = ("--url", api.url, "--fast", "--duration", "100", "--riders", "10", "--rate", "20", "--json")
        with command(tmp_path, "simulate", *arguments) as simulating:
            output, errors = simulating.communicate(timeout=scaled_s(60))
        assert simulating.returncode == 0, errors
        # 100 s at 20 per second, minus the fixes without a position.
        assert 1_400 < json.loads(output)["accepted"] == len(api.pings) <= 2_010
        with command(tmp_path, "simulate", "--every", "1", *arguments) as both:
            both.communicate(timeout=scaled_s(60))
        assert both.returncode == 2
