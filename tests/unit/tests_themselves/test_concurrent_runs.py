"""Which tests run concurrently, and in which order they start."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tests.support.servers.serving import ROOT
from tests.support.worlds.concurrent_runs import (
    E2E,
    E2E_ALONE,
    FAULTS,
    LONGEST,
    MAX_CONCURRENT_FAULTS,
    PAGE,
    next_scope,
    rank_of,
    scope_of,
)

FILES = [str(file.relative_to(ROOT)) for file in sorted((ROOT / "tests").rglob("test_*.py"))]


def test_every_file_and_folder_that_is_named_exists() -> None:
    assert [name for name in (*E2E_ALONE, *LONGEST) if not (ROOT / name).exists()] == []


def test_files_that_share_a_ridelog_are_one_group_and_every_other_file_is_its_own() -> None:
    assert {scope_of(file) for file in FILES if file.startswith(E2E)} == {PAGE, E2E, *E2E_ALONE}
    others = [file for file in FILES if not file.startswith(E2E)]
    assert [scope_of(file) for file in others] == others


def test_a_file_that_runs_alone_asks_for_no_shared_ridelog() -> None:
    asks = re.compile(r"^def test_\w+\([^)]*\bridelog: Ridelog", re.MULTILINE)
    code = {file: (ROOT / file).read_text() for file in FILES if file.startswith(E2E)}
    sharing = {file for file, text in code.items() if asks.search(text) and "def ridelog(" not in text}
    assert "tests/e2e/test_speed.py" in sharing
    assert sharing.isdisjoint(E2E_ALONE)


def test_the_longest_file_starts_first_and_what_is_not_named_last() -> None:
    ranks = {file: rank_of(scope_of(file)) for file in FILES}
    assert min(ranks, key=lambda file: ranks[file]) == LONGEST[0]
    assert ranks["tests/faults/test_parity.py"] < ranks["tests/faults/test_soak.py"]
    faults = {file for file in FILES if file.startswith(FAULTS)}
    assert max(ranks[file] for file in faults) < min(ranks[file] for file in set(FILES) - faults)
    alone = {file for file in FILES if file in E2E_ALONE}
    assert max(ranks[file] for file in alone) < min(rank_of(PAGE), rank_of(E2E)), "a shared ridelog ends with its group"
    assert ranks["tests/unit/tests_themselves/test_concurrent_runs.py"] == len(LONGEST)


def test_no_more_faults_run_at_a_time_than_allowed() -> None:
    waiting = [f"{FAULTS}a.py", "tests/contract/b.py", f"{FAULTS}c.py"]
    running = [f"{FAULTS}{number}.py" for number in range(MAX_CONCURRENT_FAULTS)]
    assert next_scope(waiting, running[1:]) == waiting[0]
    assert next_scope(waiting, running) == waiting[1]


@given(st.lists(st.sampled_from(FILES), min_size=1, unique=True), st.lists(st.sampled_from(FILES)))
def test_a_worker_that_is_free_always_gets_a_file(waiting: list[str], running: list[str]) -> None:
    found = next_scope(waiting, running)
    assert found in waiting
    only_faults = all(file.startswith(FAULTS) for file in waiting)
    passed_over = waiting[: waiting.index(found)]
    assert all(file.startswith(FAULTS) for file in passed_over)
    assert found == waiting[0] or not only_faults
