"""A replay of all keys: its rows, and the files that they are written to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infrastructure.replay import parquet
from infrastructure.replay.bulk import Output, merged_rows
from infrastructure.replay.request import encode
from projections.protocol import Projection


class Everything:
    """``document``: what was asked, and what it came to. ``files``: where ``write`` has put the rows."""

    def __init__(self, asked: Mapping[str, Any], output: Output, projection: Projection[Any]) -> None:
        parts = output.parts
        self.document: dict[str, Any] = {
            **asked,
            "events_folded": sum(part.events for part in parts),
            "keys": sum(part.keys for part in parts),
            "parked": sorted(key for part in parts for key in part.parked),
        }
        self.files: list[Path] = []
        self._output = output
        self._projection = projection

    @property
    def tables(self) -> list[str]:
        return list(self._output.tables)

    def rows(self, table: str) -> Iterator[parquet.Row]:
        """In the order of shards, then of keys."""
        return merged_rows(self._projection, self._output, table)

    def write(self, out: Path) -> None:
        """One file a table, named after ``out``, and a manifest beside them."""
        files = {}
        for name, columns in self._output.tables.items():
            path = out if len(self._output.tables) == 1 else out.with_name(f"{out.stem}.{name}.parquet")
            files[name] = {"file": path.name, "rows": parquet.write(path, columns, self.rows(name))}
            self.files.append(path)
        out.with_name(f"{out.name}.manifest.json").write_bytes(encode(self.document | {"tables": files}))
