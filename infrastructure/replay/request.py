"""A replay request: a projection, as of a horizon, shown under limits; and its document."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from infrastructure.settings.settings import Settings
from projections.core.projection import Projection
from projections.digest.digest import fold_digest, view_digest
from projections.replay.as_of import Horizon
from read_models.view import View, ViewLimits


class ReplayRequest(NamedTuple):
    """Everything that the rows of a replay depend on besides the log and the code."""

    projection: str
    horizon: Horizon
    limits: ViewLimits
    allow_expired: bool

    def document(self, projection: Projection[Any]) -> dict[str, Any]:
        """Document of the request, for people, and to check whether parts on disk belong to the same request."""
        return {
            "projection": self.projection,
            "fold_version": projection.fold_version,
            "fold_digest": fold_digest(projection),
            "view_digest": view_digest(projection),
            "log_id": str(self.horizon.log_id),
            "axis": self.horizon.axis,
            "at_ms": self.horizon.at_ms,
            "position": self.horizon.position,
            **self.limits._asdict(),
            "allow_expired": self.allow_expired,
        }


def limits_of(settings: Settings) -> ViewLimits:
    return ViewLimits(settings.target_freshness_ms, settings.feature_ttl_ms)


def values(view: View[Any], request: ReplayRequest, key: str, state: Any) -> dict[str, Any]:
    """The key's row at the instant of the request."""
    return view.row(key, view.features(state), request.horizon.at_ms, request.limits, request.allow_expired)


def encode(document: Any) -> bytes:
    """JSON with sorted keys, so that its bytes depend on the document alone."""
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=1) + b"\n"
