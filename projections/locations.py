"""The locations projection: the latest location of each rider, published on a compacted topic."""

from __future__ import annotations

from domain.features import latest_location
from projections.core.projection import Projection, Publication
from read_models.locations import state as location
from read_models.locations.view import VIEW

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
