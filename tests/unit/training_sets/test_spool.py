"""Records come back by group in the order of writing, and an unfinished file is no file."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrastructure.replay.whole_files import delete_unfinished
from infrastructure.training_sets.spool import SpoolReader, SpoolWriter


@pytest.mark.parametrize("waiting", [0, 200, 1 << 20])
def test_records_come_back_by_group_in_the_order_of_writing(tmp_path: Path, waiting: int) -> None:
    path = tmp_path / "one.spool"
    with SpoolWriter(path, max_waiting_bytes=waiting) as spool:
        for n in range(100):
            spool.add(n % 3, (n, "ü" * (n % 7), b"\x00" * n, None, n / 7, [n]))
    reader = SpoolReader(path)
    assert reader.groups() == [0, 1, 2]
    for group in range(3):
        expected = [[n, "ü" * (n % 7), b"\x00" * n, None, n / 7, [n]] for n in range(group, 100, 3)]
        assert list(reader.read(group)) == expected
    assert list(reader.read(7)) == []


def test_a_spool_without_records_is_whole(tmp_path: Path) -> None:
    with SpoolWriter(tmp_path / "none.spool"):
        pass
    assert SpoolReader(tmp_path / "none.spool").groups() == []


def test_a_spool_of_an_aborted_pass_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "aborted.spool"

    def abort() -> None:
        with SpoolWriter(path) as spool:
            spool.add(1, (1,))
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        abort()
    with pytest.raises(FileNotFoundError):
        SpoolReader(path)


def test_a_writer_that_was_given_up_leaves_the_file_of_another_one_whole(tmp_path: Path) -> None:
    """As a machine that is cut off from its cluster while another one makes the part that it has begun."""
    path = tmp_path / "one.spool"
    records = [(n, "x" * 50) for n in range(20)]
    with SpoolWriter(path, max_waiting_bytes=0) as whole:
        given_up = SpoolWriter(path, max_waiting_bytes=0)
        for record in records:
            whole.add(1, record)
        given_up.add(1, records[0])
    assert [tuple(record) for record in SpoolReader(path).read(1)] == records
    given_up.add(1, records[1])
    assert [tuple(record) for record in SpoolReader(path).read(1)] == records
    # And the next command deletes what it has left
    delete_unfinished(tmp_path)
    assert sorted(left.name for left in tmp_path.iterdir()) == ["one.index", "one.spool"]
