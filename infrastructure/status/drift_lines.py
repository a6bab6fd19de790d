"""Status lines of drift: what an ETA reads and says, compared with its training set and with what happened. Pure.

A shift is no fault of a stage. It stands in the line and in an alert, and does not make ``status`` red.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.features.drift.psi import is_shifted
from infrastructure.postgres.eta_drift import DriftOfDay, FeatureDrift, LegErrors
from infrastructure.status.lines import StatusLine

MAX_NAMED = 3
"""Features or legs that a line names."""

MODEL_CHARS = 12


def drift_line(found: DriftOfDay | None) -> StatusLine:
    """Which features of served answers are not distributed as in the training set of the model that gave them."""
    if found is None:
        return StatusLine("eta drift", "no served ETAs compared", None)
    if not found.drift:
        return StatusLine("eta drift", f"{found.day}: the model names no training set to compare with", None)
    shifted = [one for one in found.drift if is_shifted(one.psi, one.chance_psi)]
    state = f"{found.day}: {len(found.drift) - len(shifted)} features as in training, {len(shifted)} shifted"
    return StatusLine("eta drift", state + _named(shifted), None)


def _named(shifted: Sequence[FeatureDrift]) -> str:
    worst = sorted(shifted, key=lambda one: (-one.psi, one.feature))[:MAX_NAMED]
    names = ", ".join(f"{one.feature} (PSI {one.psi:.2f})" for one in worst)
    return f": {names}" if names else ""


def eta_error_line(found: DriftOfDay | None) -> StatusLine:
    """How far served answers were from what happened, by leg, of the model with the most answers."""
    if found is None or not found.errors:
        return StatusLine("eta error", "no served ETA of an order that is over", None)
    model = _most_answers(found.errors)
    legs = [one for one in found.errors if one.model_digest == model]
    legs.sort(key=lambda one: (-one.answers, one.leg))
    named = "; ".join(
        f"{one.leg} off by {one.mae_s:.0f} s, bias {one.bias_s:+.0f} s, P90 held {one.p90_held / one.answers:.0%}"
        for one in legs[:MAX_NAMED]
    )
    return StatusLine("eta error", f"{found.day}, model {model[:MODEL_CHARS]}: {named}", None)


def _most_answers(errors: Sequence[LegErrors]) -> str:
    answers: dict[str, int] = {}
    for one in errors:
        answers[one.model_digest] = answers.get(one.model_digest, 0) + one.answers
    return max(answers, key=lambda model: (answers[model], model))
