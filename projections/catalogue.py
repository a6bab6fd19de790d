"""All projections: a new consumer of the log is one line here, its fold and its read model."""

from __future__ import annotations

from typing import Any

from projections.protocol import Projection
from projections.speed import SPEED

PROJECTIONS: dict[str, Projection[Any]] = {projection.name: projection for projection in (SPEED,)}
