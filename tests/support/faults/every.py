"""All faults of the table, and which of them run on which broker."""

from __future__ import annotations

import os

from tests.support.faults.brokers import BROKER_FAULTS
from tests.support.faults.databases import DATABASE_FAULTS
from tests.support.faults.fault import Fault
from tests.support.faults.processes import PROCESS_FAULTS
from tests.support.faults.sinks import SINK_FAULTS
from tests.support.reports.proofs import whole

FAULTS: list[Fault] = [*PROCESS_FAULTS, *BROKER_FAULTS, *DATABASE_FAULTS, *SINK_FAULTS]
INSTANTS = int(os.environ.get("RIDELOG_TEST_INSTANTS", "20" if whole() else "1"))


def runs() -> list[tuple[str, Fault, int]]:
    """(broker, fault, instant) of this run, grouped by world, which is started once for all of its faults.

    ``make test`` injects each fault once, on one broker; ``make prove`` injects each on all of its brokers.
    """
    chosen = [
        (broker, fault, instant)
        for fault in FAULTS
        for broker in (fault.brokers if whole() else [fault.small])
        for instant in range(INSTANTS)
    ]
    return sorted(chosen, key=lambda run: (run[0], run[1].small_disk))
