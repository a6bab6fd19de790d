"""Before readers are switched to a generation, or it is dropped, the jobs that killed rebuilds have left are ended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infrastructure.operations.fill_jobs import ender_of_other_fills
from infrastructure.settings.settings import Settings
from tests.support.servers.fake_flink import FakeFlink, fake_flink, listed_job

FILLS_2, FILLS_3, OF_ANOTHER = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def flink() -> Iterator[FakeFlink]:
    with fake_flink() as one:
        yield one


def test_only_the_jobs_that_fill_this_generation_are_cancelled(flink: FakeFlink) -> None:
    flink.answers = {
        "/jobs/overview": {
            "jobs": [
                listed_job(FILLS_2, "rebuild speed@2", "RUNNING", 1),
                listed_job(FILLS_3, "rebuild speed@3", "RUNNING", 1),
                listed_job(OF_ANOTHER, "rebuild analytics@2", "RUNNING", 1),
            ]
        },
        f"/jobs/{FILLS_2}": {"state": "CANCELED"},
    }
    notes: list[str] = []
    ender_of_other_fills(Settings(flink_url=flink.url), "speed", notes.append)(2)
    assert flink.sent == [("PATCH", f"/jobs/{FILLS_2}?mode=cancel", None)]
    assert [FILLS_2 in note for note in notes] == [True]


def test_a_cluster_that_does_not_answer_blocks_no_switch_and_no_drop(flink: FakeFlink) -> None:
    # It answers 404 to everything.
    notes: list[str] = []
    ender_of_other_fills(Settings(flink_url=flink.url), "speed", notes.append)(2)
    assert ["ends by itself" in note for note in notes] == [True]


def test_without_a_cluster_there_is_nothing_to_end() -> None:
    notes: list[str] = []
    ender_of_other_fills(Settings(), "speed", notes.append)(2)
    assert notes == []
