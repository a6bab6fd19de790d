"""The directory of metrics: a start deletes what ended processes left there, and nothing else."""

from __future__ import annotations

from pathlib import Path

from infrastructure.observability.metrics_directory import clear_metrics


def test_regression_a_start_deletes_only_files_of_metrics(tmp_path: Path) -> None:
    """RIDELOG_METRICS_DIR=/home/ruth deleted that directory."""
    for name in ("counter_4711.db", "gauge_livesum_4711.db", "histogram_4712.db"):
        (tmp_path / name).write_bytes(b"left by an ended process")
    kept = {"letters.txt", "books.db", "counter_notes.db"}
    for name in kept:
        (tmp_path / name).write_text("a person's")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "counter_1.db").write_text("not of this directory")
    clear_metrics(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "folder"}
    assert (tmp_path / "folder" / "counter_1.db").exists()


def test_a_directory_that_is_missing_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    clear_metrics(tmp_path / "data" / "metrics")
    assert (tmp_path / "data" / "metrics").stat().st_mode & 0o077 == 0
