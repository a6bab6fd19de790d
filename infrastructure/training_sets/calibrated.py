"""Runs the online calibration of serving over the rows of a training set, in the order in which ends became known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from domain.features.calibration.online import OnlineCalibration
from domain.features.eta.learned.model import MEDIAN, P90
from domain.features.eta.quantiles import EtaQuantiles
from infrastructure.training_sets.eta_scores import Answers
from infrastructure.training_sets.model_rows import LEGS, ModelRows

Floats = NDArray[np.float64]


def calibrated(rows: ModelRows, answers: Answers, known_ms: NDArray[np.int64]) -> Answers:
    """The answers with P50 and P90 as serving would have adjusted them; the other quantiles move along.

    ``known_ms``: when the end of a row's order became known. As in serving, the first answer of each leg of an order is
    an outcome, and an answer is adjusted by the outcomes of the hours before it.
    """
    assert answers.p90_s is not None
    p50_s, p90_s = answers.p50_s.tolist(), answers.p90_s.tolist()
    cities = [rows.city_names[number] for number in rows.city.tolist()]
    legs = [LEGS[number] for number in rows.leg.tolist()]
    at_ms, labels, known = rows.at_ms.tolist(), rows.label_s.tolist(), known_ms.tolist()
    outcomes = sorted(first_of_each_leg(rows), key=lambda n: (known[n], at_ms[n], n))
    online, counted = OnlineCalibration(), 0
    adjusted = np.empty((len(rows), 2))
    for n in np.argsort(rows.at_ms, kind="stable").tolist():
        while counted < len(outcomes) and known[outcomes[counted]] <= at_ms[n]:
            of = outcomes[counted]
            online.add((legs[of], cities[of]), EtaQuantiles(p50_s[of], p90_s[of]), labels[of], known[of])
            counted += 1
        adjusted[n] = online.at(at_ms[n]).adjust(legs[n], cities[n], EtaQuantiles(p50_s[n], p90_s[n]))
    p50, p90 = adjusted[:, 0], adjusted[:, 1]
    return Answers(p50, p90, None if answers.nine is None else _moved(answers.nine, p50, p90))


def first_of_each_leg(rows: ModelRows) -> Sequence[int]:
    """The indices of the earliest row of each leg of each order."""
    order = np.lexsort((rows.at_ms, rows.leg, rows.orders))
    legs = rows.orders[order] * len(LEGS) + rows.leg[order]
    first: list[int] = order[np.unique(legs, return_index=True)[1]].tolist()
    return first


def _moved(nine: Floats, p50: Floats, p90: Floats) -> Floats:
    """Quantiles below the median are scaled with it; those up to P90 keep their place between the two."""
    old_p50, old_p90 = nine[:, MEDIAN], nine[:, P90]
    scale = np.divide(p50, old_p50, out=np.ones_like(p50), where=old_p50 > 0.0)
    width = old_p90 - old_p50
    stretch = np.divide(p90 - p50, width, out=np.zeros_like(p50), where=width > 0.0)
    found = np.empty_like(nine)
    found[:, : MEDIAN + 1] = nine[:, : MEDIAN + 1] * scale[:, None]
    found[:, MEDIAN:] = p50[:, None] + (nine[:, MEDIAN:] - old_p50[:, None]) * stretch[:, None]
    found[:, MEDIAN], found[:, P90] = p50, p90
    return found
