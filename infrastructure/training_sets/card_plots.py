"""The plots of a model card, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from domain.features.eta.learned.model import LEVELS
from infrastructure.training_sets.eta_scores import GroupScores
from infrastructure.training_sets.evaluate_eta import EtaEvaluation
from infrastructure.training_sets.input_worth import LeftOut

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_INCHES = (8.0, 3.6)
DOTS_PER_INCH = 110


def plots(found: EtaEvaluation, of_baseline: EtaEvaluation, left_out: Sequence[LeftOut]) -> dict[str, bytes]:
    """By file name. The same evaluation gives the same bytes with one version of the library."""
    mine, other = found.groups, of_baseline.groups
    images = {
        "error-by-leg.png": _image(lambda axes: _bars(axes, mine.by_leg, other.by_leg)),
        "error-by-hour.png": _image(lambda axes: _bars(axes, mine.by_hour, other.by_hour)),
        "error-by-distance.png": _image(lambda axes: _bars(axes, mine.by_distance, other.by_distance)),
        "calibration.png": _image(lambda axes: _calibration(axes, found)),
    }
    if left_out:
        images["importance.png"] = _image(lambda axes: _importance(axes, left_out))
    return images


def _bars(axes: Axes, mine: Sequence[GroupScores], other: Sequence[GroupScores]) -> None:
    names = [" · ".join(one.group.values()) for one in mine]
    at = range(len(names))
    axes.bar([n - 0.2 for n in at], [one.mae_s for one in mine], 0.4, label="model")
    axes.bar([n + 0.2 for n in at], [one.mae_s for one in other], 0.4, label="baseline")
    axes.set_xticks(list(at), names, rotation=20, ha="right", fontsize=8)
    axes.set_ylabel("mean absolute error, s")
    axes.legend()


def _calibration(axes: Axes, found: EtaEvaluation) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    for name, shares in found.reliability.items():
        axes.plot(LEVELS, [shares[f"{level:g}"] for level in LEVELS], marker="o", label=name)
    axes.set_xlabel("level of the quantile")
    axes.set_ylabel("share of truths at most that")
    axes.legend()


def _importance(axes: Axes, left_out: Sequence[LeftOut]) -> None:
    axes.barh([one.group for one in reversed(left_out)], [one.worth_s for one in reversed(left_out)])
    axes.set_xlabel("what the mean absolute error grows by without it, s")


def _image(draw: Any) -> bytes:
    # matplotlib takes half a second to import, and only a card needs it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    draw(figure.subplots())
    out = BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
