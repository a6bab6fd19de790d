"""Modules that a test writes itself, to trace them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from itertools import count
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

Modules = Callable[..., Any]
NUMBERS = count()


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Modules:
    """Writes modules into a package of their own and imports them; ``written(name=source)`` returns the first."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**sources: str) -> Any:
        package = f"traced_{next(NUMBERS)}"
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        for name, source in sources.items():
            (tmp_path / package / f"{name}.py").write_text(dedent(source).replace("PACKAGE", package))
        return importlib.import_module(f"{package}.{next(iter(sources))}")

    return write
