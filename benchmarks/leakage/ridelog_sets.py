"""Labels of a training set that the command ``training-set`` makes of one log."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.leakage.history import ROW_MS, START_MS
from infrastructure.operations.training_set import make_eta_set
from infrastructure.operations.training_set_request import resolve
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.eta_set import EtaRule, EtaSet
from infrastructure.training_sets.instants_file import file_sha256


def outcomes_s(settings: Settings, order_ids: Iterable[str], position: int) -> dict[str, float | None]:
    """The labels of the orders' rows at ``ROW_MS``, of a set of the log up to ``position``; None: censored.

    Raises Unresolvable, PortUnavailable, UserError.
    """
    with tempfile.TemporaryDirectory() as name:
        instants, out = Path(name) / "instants.csv", Path(name) / "set"
        rows = [f"{order_id},{START_MS + ROW_MS}\n" for order_id in sorted(set(order_ids))]
        instants.write_text("order_id,time\n" + "".join(rows))
        rule = EtaRule("instants", instants_sha256=file_sha256(instants))
        request = resolve(settings, rule, "known", position)
        make_eta_set(settings, request, out, 1, _no_progress, instants=instants)
        return {row["order_id"]: None if row["censored"] else row["label_s"] for row in EtaSet(out).rows()}


def _no_progress(stage: str, what: str, done: int, total: int) -> None:
    """Shows nothing: the sets of the battery have a few rows."""
