"""The locations projection: where each rider was last, for anybody to follow on a compacted topic."""

from __future__ import annotations

from domain.features import latest_location
from projections.protocol import Projection, Publication
from read_models import location
from read_models.location_view import VIEW

LOCATIONS = Projection(
    name=location.NAME,
    stream="Rider",
    fold_version=2,
    initial=latest_location.EMPTY,
    fold=latest_location.fold,
    encode=location.encode,
    decode=location.decode,
    publication=Publication(topic=location.TOPIC, record=location.RECORD, values=location.values),
    view=VIEW,
)
