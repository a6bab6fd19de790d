"""The online calibration over a set: as serving has it, by what was known before each answer."""

from __future__ import annotations

import numpy as np

from domain.features.eta.packaged import packaged_baseline
from infrastructure.training_sets.calibrated import calibrated, first_of_each_leg
from infrastructure.training_sets.evaluate_eta import of_baseline
from infrastructure.training_sets.model_rows import model_rows
from tests.support.eta.model_rows import eta_rows

HOUR_MS = 3_600_000


def test_it_learns_from_ends_how_wrong_the_answers_are() -> None:
    rows = model_rows(eta_rows(1_000, 1), packaged_baseline(), None)
    before = of_baseline(rows)
    after = calibrated(rows, before, rows.completed_ms)
    late = rows.placed_ms >= np.quantile(rows.placed_ms, 0.5)
    assert before.p90_s is not None
    assert after.p90_s is not None
    assert after.nine is not None
    below = [float((rows.label_s <= p90_s)[late].mean()) for p90_s in (before.p90_s, after.p90_s)]
    assert abs(below[1] - 0.9) < 0.04 < abs(below[0] - 0.9)
    assert (np.diff(after.nine, axis=1) >= -1e-9).all()
    assert (after.nine[:, 4] == after.p50_s).all()
    assert (after.nine[:, 8] == after.p90_s).all()


def test_what_is_known_later_changes_no_answer() -> None:
    rows = model_rows(eta_rows(200, 1), packaged_baseline(), None)
    before = of_baseline(rows)
    never = np.full(len(rows), int(rows.at_ms.max()) + HOUR_MS)
    assert (calibrated(rows, before, never).p50_s == before.p50_s).all()
    half = np.sort(rows.at_ms)[100]
    known = np.where(rows.completed_ms > half, rows.completed_ms + 1_000 * HOUR_MS, rows.completed_ms)
    early = rows.at_ms <= half
    one, other = calibrated(rows, before, rows.completed_ms), calibrated(rows, before, known)
    assert (one.p50_s == other.p50_s)[early].all()
    assert not (one.p50_s == other.p50_s)[~early].all()


def test_only_the_first_answer_of_a_leg_is_an_outcome() -> None:
    rows = model_rows(eta_rows(5, 3), packaged_baseline(), None)
    assert [int(rows.at_ms[n]) for n in first_of_each_leg(rows)] == sorted(set(rows.at_ms.tolist()))[::3]
