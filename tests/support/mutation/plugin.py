"""What pytest does otherwise while mutants run."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Hypothesis repeats itself, so that a mutant fares alike in every run, and does not look for smaller failures.

    After tests/conftest.py, whose profile this one changes.
    """
    settings.register_profile(
        "mutants", settings(), derandomize=True, database=None, phases=(Phase.explicit, Phase.generate)
    )
    settings.load_profile("mutants")
