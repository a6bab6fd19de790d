"""Proofs have two sizes: small in ``make test``, full in ``make prove``."""

from __future__ import annotations

import os


def whole() -> bool:
    """Whether this run is ``make prove``."""
    return os.environ.get("RIDELOG_TEST_PROVE") == "1"
