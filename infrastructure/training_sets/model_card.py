"""The model card: one HTML file with the errors of a model, where it comes from and what it must not be used for."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from infrastructure.eta_models.model_files import CARD, ModelManifest
from infrastructure.eta_models.model_plots import PLOTS
from infrastructure.training_sets.card_plots import plots
from infrastructure.training_sets.eta_scores import EtaScores, GroupScores
from infrastructure.training_sets.evaluate_eta import EtaEvaluation
from infrastructure.training_sets.input_worth import PROMISE, LeftOut

_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:.5rem 0}"
    "td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%}code{font-size:.9em}"
)
_HEAD: Final = ("", "rows", "MAE s", "median s", "P90 s", "bias s", "± 2 min", "± 5 min", "≤ P50", "≤ P90", "CRPS s")


def card(
    manifest: ModelManifest,
    found: EtaEvaluation,
    of_baseline: EtaEvaluation,
    left_out: Sequence[LeftOut],
) -> dict[str, bytes]:
    """``card.html`` and its plots, by file name. ``found`` is of the test part, and so is ``of_baseline``."""
    images = plots(found, of_baseline, left_out)
    parts = [
        f"<h1>{escape(manifest.spec.name)}</h1><p>digest <code>{manifest.digest}</code></p>",
        "<p>Seconds until an order is handed over: nine quantiles, of which the ETA serves P50 and P90. The trees "
        "learn what the documented baseline, and the promise of an order that has one, leave unexplained.</p>",
        "<h2>Errors on orders that are later than all it was trained on</h2>",
        "<p>P50 and P90 are those that would have been served: adjusted by the ends that were known before each "
        "answer, as the online calibration does. The groups below are of these.</p>",
        _table(found.all),
    ]
    if found.promised is not None:
        parts += ["<h3>Orders with a promise</h3>", _table(found.promised)]
    parts += [
        f"<p>The promise is an input of this model. Trained without it, its mean absolute error on all these rows is "
        f"{one.mae_s:,.1f} s.</p>"
        for one in left_out
        if one.group == PROMISE
    ]
    parts += [_image(title, images[name]) for name, title in PLOTS.items() if name in images]
    parts += ["<h2>By week</h2>", _groups(found.groups.by_week)]
    parts += ["<h2>How it was trained</h2>", _facts(manifest.training), "<h2>From which data</h2>"]
    parts += [_facts(manifest.training_set), "<h2>Limits</h2>", _limits(manifest, found)]
    html = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(manifest.spec.name)}</title>'
    html += f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    return {CARD: html.encode(), **images}


def _limits(manifest: ModelManifest, found: EtaEvaluation) -> str:
    bounds = "".join(
        _row((name, f"{one.low:,.6g}", f"{one.high:,.6g}", "yes" if one.unknown else "no"))
        for name, one in manifest.spec.bounds.items()
    )
    return (
        "<p>The errors are those of the same training without the newest orders; the trees that are shipped were then "
        "learned again from all rows. An answer whose inputs are outside the bounds below is that of the baseline and "
        f"says <code>outside_training</code>: {found.outside_training:.2%} of the rows above. A city or a vehicle that "
        "the training set did not have is not covered by these figures.</p>"
        f"<table><tr><th>input</th><th>low</th><th>high</th><th>may be unknown</th></tr>{bounds}</table>"
    )


def _table(found: Mapping[str, EtaScores]) -> str:
    rows = "".join(
        _row(
            (
                name,
                f"{one.rows:,}",
                *(f"{value:,.1f}" for value in (one.mae_s, one.median_s, one.p90_s, one.bias_s)),
                *(_share(value) for value in (one.within_2_min, one.within_5_min, one.coverage_50, one.coverage_90)),
                "–" if one.crps_s is None else f"{one.crps_s:,.1f}",
            )
        )
        for name, one in found.items()
    )
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in _HEAD)}</tr>{rows}</table>"


def _groups(found: Sequence[GroupScores]) -> str:
    rows = "".join(
        _row(
            (
                *one.group.values(),
                f"{one.rows:,}",
                f"{one.mae_s:,.1f}",
                _share(one.coverage_50),
                _share(one.coverage_90),
            )
        )
        for one in found
    )
    return f"<table><tr><th></th><th>rows</th><th>MAE s</th><th>≤ P50</th><th>≤ P90</th></tr>{rows}</table>"


def _facts(found: Mapping[str, Any]) -> str:
    return f"<table>{''.join(_row((name, str(value))) for name, value in found.items())}</table>"


def _row(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<td>{escape(one)}</td>' for one in cells)}</tr>"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _image(title: str, png: bytes) -> str:
    data = b64encode(png).decode()
    return f'<h2>{escape(title)}</h2><img alt="{escape(title)}" src="data:image/png;base64,{data}">'
