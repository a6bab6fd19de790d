"""The plan of docs/scaling.md: its tables are those that the script prints, and its arithmetic follows its inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scaling import INPUTS, limits, main, plan, tables

ROOT = Path(__file__).resolve().parents[3]
VALUES = {name: one.value for name, one in INPUTS.items()}
COSTS = sorted(name for name in INPUTS if name.endswith("_us"))


def test_the_page_has_the_tables_that_the_script_prints() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text()
    for table in tables(VALUES).split("\n\n"):
        assert table in page, "print them again: python -m benchmarks.scaling"


@given(st.integers(1_000, 2_000_000), st.sampled_from(COSTS), st.floats(1.01, 10.0))
def test_a_stage_that_costs_more_never_needs_less(rate: int, cost: str, factor: float) -> None:
    before, after = plan(rate, VALUES), plan(rate, VALUES | {cost: VALUES[cost] * factor})
    assert after.all_cores >= before.all_cores
    assert after.redis_primaries >= before.redis_primaries
    assert all(after.cores[stage] >= cores for stage, cores in before.cores.items())
    assert all(
        limits(VALUES | {cost: VALUES[cost] * factor})[name][0] <= at for name, (at, _) in limits(VALUES).items()
    )


@given(st.integers(1_000, 1_000_000))
def test_cores_grow_with_the_pings_and_logs_in_whole_ones(rate: int) -> None:
    one, two = plan(rate, VALUES), plan(2 * rate, VALUES)
    assert sum(two.cores.values()) == pytest.approx(2 * sum(one.cores.values()))
    assert one.logs <= two.logs <= 2 * one.logs
    assert one.logs * VALUES["log_events_s"] >= rate > (one.logs - 1) * VALUES["log_events_s"]


def test_a_value_of_another_machine_takes_the_place_of_an_input(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--set", "log_events_s=200000"])
    assert "| logs (event stores) | 1 | 1 | 10 |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--set", "log=1"])
    assert "there is no input 'log'" in capsys.readouterr().err
