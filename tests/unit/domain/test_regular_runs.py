"""Whatever run of regular steps a stretch has, it is found: the check of the middle step hides none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.features.spoofing.fixes import Fix, ways_mm
from domain.features.spoofing.regularity import REGULAR_STEPS_ON_END, regular_runs
from domain.features.spoofing.signals import CONSTANT_READINGS, REGULAR_STEPS

INTERVAL_MS = 5_000


def track(steps: int, regular: frozenset[int], constant: frozenset[int]) -> list[Fix]:
    """Steps of about 20 m; those in ``regular`` are equal, those in ``constant`` have one speed and accuracy."""
    fixes = [Fix(0, 525_000_000, 134_000_000, 12_000, 5_000, 0)]
    for step in range(steps):
        last = fixes[-1]
        # A step is compared with the one before it, so the first of the equal ones is not counted.
        north = 1_800 if step in regular or step + 1 in regular else 1_800 + 40 * (step % 7 + 1)
        speed = last.speed_mm_s if step in constant else 5_000 + step % 2 * 100 + step * 3
        fixes.append(Fix(last.t_ms + INTERVAL_MS, last.latitude_e7 + north, last.longitude_e7, 12_000, speed, 0))
    return fixes


@given(st.data())
def test_a_run_is_found_wherever_it_is(data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, 50))
    regular, constant = (
        frozenset(range(start, min(steps, start + length)))
        for start, length in (
            (data.draw(st.integers(1, 40)), data.draw(st.integers(0, 30))),
            (data.draw(st.integers(0, 40)), data.draw(st.integers(0, 30))),
        )
    )
    fixes = track(steps, regular, constant)
    found = {finding.name for finding in regular_runs(fixes, ways_mm(fixes))}
    expected = {REGULAR_STEPS} if len(regular) >= REGULAR_STEPS_ON_END else set()
    expected |= {CONSTANT_READINGS} if len(constant) >= REGULAR_STEPS_ON_END else set()
    assert found == expected
