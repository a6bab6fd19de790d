"""What the benchmarks of Flink compute from their measurements: each ratio is to the runner of the same minutes."""

from __future__ import annotations

import pytest

from benchmarks.flink import BESIDE, IN_ALL, OF, RATIO, chosen, ratios
from benchmarks.flink_jvm import ratios as ratios_of_slices
from benchmarks.flink_variants import COLUMNS, COMPILERS, VARIANTS


def of_engine(label: str, total: float, compilers: float) -> dict[str, float]:
    return {f"{label}{IN_ALL}": total, f"{label}{OF}{COMPILERS}": compilers}


def test_a_variant_is_compared_with_the_runner_of_its_own_rounds() -> None:
    figures = {
        **of_engine(COLUMNS.label, 60.0, 10.0),
        f"{COLUMNS.label}, {BESIDE}{IN_ALL}": 40.0,
        **of_engine("Flink, backlog", 60.0, 30.0),
        f"Flink, backlog, {BESIDE}{IN_ALL}": 30.0,
    }
    assert ratios(figures) == {
        RATIO: 1.5,
        f"{RATIO}, without the compilers": 1.25,
        "CPU of an event / the runner's, Flink, backlog": 2.0,
        "CPU of an event / the runner's, Flink, backlog, without the compilers": 1.0,
    }


def test_a_slice_is_compared_with_the_slices_of_a_warm_runner() -> None:
    figures = {
        "runner, from 0 s: in all": 90.0,
        "runner, from 31 s: in all": 30.0,
        "G1, from 0 s: in all": 100.0,
        "G1, from 33 s: in all": 60.0,
        "runner, last, from 0 s: in all": 80.0,
        "runner, last, from 32 s: in all": 50.0,
    }
    found = ratios_of_slices(figures)
    assert found["CPU of an event / the runner's, G1, from 0 s"] == pytest.approx(2.5)
    assert found["CPU of an event / the runner's, G1, from 33 s"] == pytest.approx(1.5)


def test_only_and_without_choose_variants_by_their_labels() -> None:
    assert chosen([""], []) == list(VARIANTS)
    assert [one.label for one in chosen(["backlog"], ["gathers", "TaskManagers"])] == ["Flink, backlog"]
    assert chosen([COLUMNS.label], []) == [COLUMNS]
