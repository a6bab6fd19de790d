"""The file of rejected rows: correct it and import it again."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from infrastructure.client.imports.csv_rows import Row, Source
from infrastructure.user_error import UserError

REASON = ("file", "line", "code", "detail")


class Rejects:
    """A CSV of REASON and then the columns of all sources by name. Raises UserError if it cannot be written."""

    def __init__(self, path: Path, sources: Sequence[Source]) -> None:
        for source in sources:
            if path.exists() and path.samefile(source.path):
                raise UserError(f"--rejects {path} would overwrite the file that is imported; name another")
        # Columns called like ours are those of an earlier file of rejects.
        self._titles = list(
            dict.fromkeys(title for source in sources for title in source.header if title not in REASON)
        )
        try:
            self._file = path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error}") from error
        self._writer = csv.writer(self._file)
        self._writer.writerow([*REASON, *self._titles])

    def add(self, row: Row, code: str, detail: str) -> None:
        """One rejected row; cells beyond the header follow at its end."""
        header = row.source.header
        cells = dict(zip(header, row.cells, strict=False))
        extra = row.cells[len(header) :]
        self._writer.writerow(
            [row.source.path, row.line, code, detail, *(cells.get(title, "") for title in self._titles), *extra]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
