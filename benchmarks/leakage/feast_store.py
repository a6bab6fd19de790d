"""Feast with a file source on either of its local offline stores, with its filter of created timestamps off and on."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float64
from feast.value_type import ValueType

from benchmarks.leakage.history import START_MS, Ask, Axis, Feature, Trap
from benchmarks.leakage.stores import Answer, Setting, not_expressible, value
from benchmarks.leakage.table_rows import TableRow, tables_of

FILTER_OFF = Setting("filter off", (Axis.KNOWN, Axis.EVENT))
FILTER_ON = Setting("filter on", (Axis.KNOWN,))

_CONFIG = """\
project: leakage
provider: local
registry: {folder}/registry.db
online_store: {{type: sqlite, path: {folder}/online.db}}
offline_store: {{type: {offline_store}}}
entity_key_serialization_version: 3
"""


class FeastStore:
    """A feature repository for each trap, in a temporary folder; ``offline_store`` is Feast's name of it."""

    settings = (FILTER_OFF, FILTER_ON)

    def __init__(self, offline_store: str) -> None:
        os.environ.setdefault("FEAST_USAGE", "False")
        self.name = f"Feast ({offline_store})"
        self._offline_store = offline_store
        self._folder = tempfile.TemporaryDirectory()
        self._loaded = 0
        self._store: Any = None
        self._asks: tuple[Ask, ...] = ()
        self._answers: dict[tuple[Setting, int], dict[tuple[str, int], float | None]] = {}

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("feast", "pandas", "pyarrow", *self._engines())}

    def _engines(self) -> tuple[str, ...]:
        return ("ibis-framework", "duckdb") if self._offline_store == "duckdb" else ("dask",)

    def load(self, trap: Trap) -> None:
        self._loaded += 1
        folder = Path(self._folder.name) / str(self._loaded)
        folder.mkdir()
        (folder / "feature_store.yaml").write_text(_CONFIG.format(folder=folder, offline_store=self._offline_store))
        self._store = FeatureStore(repo_path=str(folder))
        entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.STRING)
        views = [
            _view(entity, definition, rows, folder / f"rows{definition}.parquet", trap.ttl_ms)
            for definition, rows in enumerate(tables_of(trap), start=1)
            if rows
        ]
        self._store.apply([entity, *views])
        self._asks, self._answers = trap.asks, {}

    def ask(self, ask: Ask, setting: Setting) -> Answer:
        if ask.feature is not Feature.LATEST:
            return not_expressible("the retrieval joins values; it adds nothing up")
        of = (setting, ask.definition)
        if of not in self._answers:
            self._answers[of] = self._retrieve(setting, ask.definition)
        return value(self._answers[of][ask.entity, ask.at_ms])

    def _retrieve(self, setting: Setting, definition: int) -> dict[tuple[str, int], float | None]:
        """One retrieval for all instants of a trap, as a training set is made."""
        pairs = sorted({(ask.entity, ask.at_ms) for ask in self._asks})
        asked = pandas.DataFrame(
            {"entity": [entity for entity, _ in pairs], "event_timestamp": [_utc(at_ms) for _, at_ms in pairs]}
        )
        options = {"filter_by_created_timestamp": True} if setting == FILTER_ON else {}
        found = self._store.get_historical_features(
            entity_df=asked, features=[f"definition_{definition}:value"], **options
        ).to_df()
        rows = found[found["value"].notna()].itertuples()
        values = {(row.entity, row.event_timestamp): float(row.value) for row in rows}
        # The store on Dask leaves out the row of an instant that has only later values: that is null too.
        return {(entity, at_ms): values.get((entity, _utc(at_ms))) for entity, at_ms in pairs}


def _view(entity: Entity, definition: int, rows: list[TableRow], path: Path, ttl_ms: int | None) -> FeatureView:
    pandas.DataFrame(
        {
            "entity": [row.entity for row in rows],
            "event_timestamp": [_utc(row.event_ms) for row in rows],
            "created": [_utc(row.created_ms) for row in rows],
            "value": [row.value for row in rows],
        }
    ).to_parquet(path)
    source = FileSource(path=str(path), timestamp_field="event_timestamp", created_timestamp_column="created")
    return FeatureView(
        name=f"definition_{definition}",
        entities=[entity],
        # 0 is Feast's word for no expiry.
        ttl=timedelta(milliseconds=ttl_ms or 0),
        schema=[Field(name="value", dtype=Float64)],
        source=source,
    )


def _utc(ms: int) -> pandas.Timestamp:
    return pandas.Timestamp(datetime.fromtimestamp((START_MS + ms) // 1_000, UTC)) + pandas.Timedelta(
        milliseconds=(START_MS + ms) % 1_000
    )
