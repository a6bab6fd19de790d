"""What pytest does otherwise while mutants run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import Phase, settings

INTEGRATION = Path("tests", "integration")
CORE = "projections."
"""Begins the names of the mutants that the unit and contract tiers have to kill alone."""


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Hypothesis repeats itself, so that a mutant fares alike in every run, and does not look for smaller failures.

    After tests/conftest.py, whose profile this one changes.
    """
    settings.register_profile(
        "mutants", settings(), derandomize=True, database=None, phases=(Phase.explicit, Phase.generate)
    )
    settings.load_profile("mutants")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A mutant of the core is not run against the integration tests, and so is not killed by them."""
    if not os.environ.get("MUTANT_UNDER_TEST", "").startswith(CORE):
        return
    integration = Path(config.rootpath) / INTEGRATION
    dropped = [item for item in items if integration in item.path.parents]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]
