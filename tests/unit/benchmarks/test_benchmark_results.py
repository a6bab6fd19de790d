"""The report of a benchmark: its figures, its targets and the run that produced them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.open_loop import spread
from benchmarks.results import at_least, at_most, report


def test_figures_are_printed_with_their_targets_and_written_with_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {"ours, events/s": 79_000.0, "p99, ms": 2.0, "ratio": 5.5}

    report("Some thing", figures, {"ours, events/s": at_least(80_000), "p99, ms": at_most(2)}, tmp_path)

    lines = capsys.readouterr().out.splitlines()
    assert [line.split("target ")[1] for line in lines if "target" in line] == [
        "at least 80,000: MISSED",
        "at most 2: met",
    ]
    assert json.loads(lines[-1]) == {"benchmark": "Some thing", **figures}
    written = json.loads((tmp_path / "some_thing.json").read_text())
    assert written["figures"] == figures
    assert {label: target["met"] for label, target in written["targets"].items()} == {
        "ours, events/s": False,
        "p99, ms": True,
    }
    assert {"at", "commit", "python", "machine"} <= written.keys()


def test_a_target_without_a_figure_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        report("x", {"ours": 1.0}, {"theirs": at_least(1)}, tmp_path)


def test_percentiles_are_measured_values_rounded_up() -> None:
    assert spread([n / 1000 for n in range(1, 201)]) == pytest.approx((100, 198, 200))
    assert spread([0.003]) == pytest.approx((3, 3, 3))
