"""``feature-history --keys-file``: a file of keys, as editors write it."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from infrastructure.cli.feature_history import _keys


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "with the mark of Windows' editors"])
def test_a_file_of_keys_names_the_same_keys_with_a_byte_order_mark(tmp_path: Path, mark: bytes) -> None:
    # With the mark as a part of it, the first key is no rider's, and its rows are missing without a word.
    file = tmp_path / "keys.txt"
    file.write_bytes(mark + b"anna\r\nbo\r\n\r\n")
    assert _keys(None, file) == ["anna", "bo"]


def test_a_file_without_keys_does_not_mean_all_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_bytes(b"\xef\xbb\xbf\n")
    with pytest.raises(typer.BadParameter, match="no key is named"):
        _keys(None, file)
