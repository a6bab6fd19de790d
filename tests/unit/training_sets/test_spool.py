"""Records come back by group in the order of writing, and an unfinished file is no file."""

from __future__ import annotations

from pathlib import Path

import pytest

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
