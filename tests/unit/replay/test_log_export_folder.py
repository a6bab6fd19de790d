"""The folder of an export that cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrastructure.backends import Backends
from infrastructure.errors import UserError
from infrastructure.replay.log_export import export_log
from infrastructure.settings.settings import Settings


def test_regression_a_folder_that_cannot_be_written_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    """`export-log` ended with a traceback, also where the disk was full after hours."""
    file = tmp_path / "file"
    file.touch()
    with Backends(Settings()) as backends, pytest.raises(UserError, match=r"cannot write .* another folder with --out"):
        export_log(backends, file / "export", lambda done, of: None)
