"""Invariant 9 across machines: the code on the cluster folds as the code that submits the job."""

from __future__ import annotations

from typing import Any

from projections.core.projection import Projection
from projections.digest.digest import fold_digest


class DigestRefused(Exception):
    """The code on the cluster folds otherwise than the code that submitted the job."""


def refuse_other_digest(projection: Projection[Any], submitted: str) -> None:
    """Raises DigestRefused if the code here has another digest than the one that was ``submitted``."""
    if (own := fold_digest(projection)) != submitted:
        raise DigestRefused(
            f"this TaskManager has the fold {own} of {projection.name}, and the job was submitted with {submitted}: "
            "deploy the same code to the cluster and to the client, and submit the job again"
        )
