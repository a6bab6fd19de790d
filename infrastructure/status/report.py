"""What ``status`` shows, and prints with ``--json``."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from infrastructure.status.lines import StatusLine
from infrastructure.status.model_line import ModelsStatus


class StatusReport(msgspec.Struct):
    """All stages, in the order in which a ping passes them. ``eta_models``: those of the line ``eta model``."""

    good: bool
    log_id: str
    stages: list[StatusLine]
    eta_models: ModelsStatus


def status_report(log_id: str, stages: Sequence[StatusLine], models: ModelsStatus) -> StatusReport:
    """All lines together; good if every line is."""
    return StatusReport(all(line.good for line in stages), log_id, list(stages), models)
