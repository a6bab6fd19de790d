"""Schedules which tests run concurrently when there is more than one worker.

Each file runs whole in one worker, the longest files first: what starts last is short, so that no worker works alone at
the end. A fault test measures nothing, but two of them at a time on two cores slow each other down, until waits for a
restart end in a time limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

FAULTS = "tests/faults/"
MAX_CONCURRENT_FAULTS = 1
PAGE = "tests/e2e/page/"
"""The files of this folder share one running ridelog with tokens and one browser, and so run in one worker."""
E2E = "tests/e2e/"
"""The other files of this folder share another ridelog, and so run in one worker; but for those of E2E_ALONE."""
E2E_ALONE = (
    "tests/e2e/test_demo.py",
    "tests/e2e/test_change_a_fold.py",
    "tests/e2e/test_train_and_serve.py",
    "tests/e2e/test_page_demo.py",
    "tests/e2e/test_analytics_real_tracks.py",
    "tests/e2e/test_real_tracks.py",
    "tests/e2e/test_fraud_page.py",
    "tests/e2e/test_write_a_projection.py",
    "tests/e2e/test_secured_kafka.py",
    "tests/e2e/test_first_steps.py",
    "tests/e2e/test_tokens.py",
)
"""Files with a ridelog of their own, the longest first. In the group, the shared one would idle meanwhile."""
LONGEST = (
    "tests/faults/test_every_fault.py",
    "tests/faults/test_parity.py",
    "tests/faults/test_many_etas.py",
    # They run one at a time: were they to wait for other files, one worker would be left with them alone at the end.
    "tests/faults/",
    # Before the groups: a worker that took them after its group would keep the shared ridelog until their end.
    *E2E_ALONE,
    PAGE,
    E2E,
    "tests/contract/test_kafka_topics.py",
    "tests/contract/test_kafka_publishers.py",
    "tests/integration/supervision/test_serve.py",
    "tests/integration/flink/",
    "tests/integration/replay/test_all_keys.py",
    "tests/integration/postgres/test_failover.py",
    "tests/integration/cdc/",
    "tests/integration/processes/",
    "tests/integration/supervision/",
    "tests/integration/kafka/",
    "tests/integration/imports/",
    "tests/integration/event_store/",
    "tests/integration/postgres/",
    "tests/contract/",
    "tests/integration/",
    "tests/unit/simulator/",
    "tests/unit/training_sets/",
)
"""Beginnings of paths, the longest files first. What has none of them is short, and comes last."""


class LongestFirst(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Gives each free worker the next file, and faults to a few workers at a time."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(str(super()._split_scope(nodeid)))

    def _assign_work_unit(self, node: WorkerController) -> None:
        others = [units for worker, units in self.assigned_work.items() if worker is not node]
        unfinished = [scope for units in others for scope, tests in units.items() if not all(tests.values())]
        self.workqueue.move_to_end(next_scope(list(self.workqueue), unfinished), last=False)
        super()._assign_work_unit(node)


def scope_of(file: str) -> str:
    """The group of files that runs in one worker."""
    if file in E2E_ALONE:
        return file
    return next((group for group in (PAGE, E2E) if file.startswith(group)), file)


def next_scope(waiting: Sequence[str], unfinished: Iterable[str]) -> str:
    """The first of ``waiting`` that may run next to what other workers have not finished; the first if none may."""
    faults = sum(scope.startswith(FAULTS) for scope in unfinished)
    allowed = (scope for scope in waiting if faults < MAX_CONCURRENT_FAULTS or not scope.startswith(FAULTS))
    return next(allowed, waiting[0])


def longest_first(items: list[pytest.Item]) -> None:
    """Sort the tests by LONGEST. Tests of one file, or of files that share a ridelog, stay in their order."""
    items.sort(key=lambda item: rank_of(scope_of(item.nodeid.partition("::")[0])))


def rank_of(scope: str) -> int:
    """The place among LONGEST: that of the longest beginning which the path has."""
    found = [number for number, beginning in enumerate(LONGEST) if scope.startswith(beginning)]
    return max(found, key=lambda number: len(LONGEST[number]), default=len(LONGEST))
