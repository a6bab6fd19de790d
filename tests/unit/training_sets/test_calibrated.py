"""The online calibration over a set: as serving has it, by what was known before each answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain.features.calibration.online import OnlineCalibration
from domain.features.eta.packaged import packaged_baseline
from domain.features.eta.quantiles import EtaQuantiles
from infrastructure.training_sets.calibrated import calibrated, first_of_each_leg
from infrastructure.training_sets.evaluate_eta import of_baseline
from infrastructure.training_sets.model_rows import LEGS, ModelRows, model_rows
from tests.support.eta.model_rows import eta_rows

HOUR_MS = 3_600_000


def every(rows: ModelRows) -> NDArray[np.bool_]:
    return np.ones(len(rows), dtype=np.bool_)


def test_it_learns_from_ends_how_wrong_the_answers_are() -> None:
    rows = model_rows(eta_rows(1_000, 1), packaged_baseline(), None)
    before = of_baseline(rows)
    after = calibrated(rows, before, rows.completed_ms, every(rows))
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
    assert (calibrated(rows, before, never, every(rows)).p50_s == before.p50_s).all()
    half = np.sort(rows.at_ms)[100]
    known = np.where(rows.completed_ms > half, rows.completed_ms + 1_000 * HOUR_MS, rows.completed_ms)
    early = rows.at_ms <= half
    one, other = calibrated(rows, before, rows.completed_ms, every(rows)), calibrated(rows, before, known, every(rows))
    assert (one.p50_s == other.p50_s)[early].all()
    assert not (one.p50_s == other.p50_s)[~early].all()


def test_only_the_first_answer_of_a_leg_is_an_outcome() -> None:
    rows = model_rows(eta_rows(5, 3), packaged_baseline(), None)
    assert [int(rows.at_ms[n]) for n in first_of_each_leg(rows)] == sorted(set(rows.at_ms.tolist()))[::3]


def test_each_answer_has_the_bits_that_serving_would_give_it_one_by_one() -> None:
    rows = model_rows(eta_rows(300, 2), packaged_baseline(), None)
    before = of_baseline(rows)
    found = calibrated(rows, before, rows.completed_ms, every(rows))
    online, waiting = OnlineCalibration(), sorted(first_of_each_leg(rows), key=lambda n: int(rows.completed_ms[n]))
    assert before.p90_s is not None
    assert found.p90_s is not None
    for n in np.argsort(rows.at_ms, kind="stable").tolist():
        while waiting and rows.completed_ms[waiting[0]] <= rows.at_ms[n]:
            of = waiting.pop(0)
            model = EtaQuantiles(float(before.p50_s[of]), float(before.p90_s[of]))
            cell = LEGS[rows.leg[of]], rows.city_names[rows.city[of]]
            online.add(cell, model, float(rows.label_s[of]), int(rows.completed_ms[of]))
        answer = EtaQuantiles(float(before.p50_s[n]), float(before.p90_s[n]))
        served = online.at(int(rows.at_ms[n])).adjust(LEGS[rows.leg[n]], rows.city_names[rows.city[n]], answer)
        assert (found.p50_s[n], found.p90_s[n]) == served


def test_the_chosen_rows_have_the_answers_that_they_have_among_all() -> None:
    rows = model_rows(eta_rows(200, 2), packaged_baseline(), None)
    before, late = of_baseline(rows), rows.placed_ms >= np.quantile(rows.placed_ms, 0.7)
    among_all = calibrated(rows, before, rows.completed_ms, every(rows)).of(late)
    alone = calibrated(rows, before, rows.completed_ms, late)
    assert (alone.p50_s == among_all.p50_s).all()
    assert alone.nine is not None
    assert among_all.nine is not None
    assert (alone.nine == among_all.nine).all()
