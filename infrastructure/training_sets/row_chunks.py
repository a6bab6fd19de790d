"""Third pass: the rows of one range of the clock, with the city as of each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from domain.features.eta.city_view import CityView
from domain.features.eta.features import EtaReading, eta_reading
from domain.features.eta.packaged import packaged_baseline
from domain.identifiers import SHARDS, shard_of
from infrastructure.replay.whole_files import write_whole
from infrastructure.training_sets.city_changes import CityAlong
from infrastructure.training_sets.eta_rows import RowSource, way_columns
from infrastructure.training_sets.order_shards import NO_RIDER, OrderFiles, Seed
from infrastructure.training_sets.rider_shards import RiderFiles, unpack_rider
from infrastructure.training_sets.spool import SpoolReader, SpoolWriter
from projections.orders import ORDERS

CHUNK_ROWS = 10_000
"""Rows of one chunk: their riders, some kilobytes each, are in memory at once."""
PROGRESS_ROWS = 500

Answer = tuple[float | None, float | None, str | None, int | None, int | None]
"""P50 and P90 as served, digest of the model, number of the city snapshot, id of the answer."""
NO_ANSWER: Answer = (None, None, None, None, None)


class ChunkFiles(NamedTuple):
    """The files of one chunk in a folder."""

    folder: Path
    chunk: int

    @property
    def part(self) -> Path:
        return self.folder / f"chunk-{self.chunk:05d}.json"

    @property
    def rows(self) -> Path:
        """Spool of rows without facts and outcome, by the shard of the order."""
        return self.folder / f"chunk-{self.chunk:05d}.spool"


class ChunkPart(msgspec.Struct, frozen=True):
    """Result of one chunk; written when its files are complete.

    ``different`` and ``undecided``: served answers without a row, the second by verdict; ``examples`` of the first.
    """

    rows: int
    events: int = 0
    different: int = 0
    undecided: dict[str, int] = {}
    examples: list[str] = []


def write_part(files: ChunkFiles, part: ChunkPart) -> None:
    """Raises OSError."""
    write_whole(files.part, msgspec.json.encode(part))


def row_start(
    order_id: str, at_ms: int, position: int, source: RowSource, reading: EtaReading, answer: Answer
) -> tuple[Any, ...]:
    """The columns of a row up to the way, then those of the answers: facts and outcome are added by the last pass."""
    features = reading.features
    baseline = packaged_baseline().predict(features, reading.way)
    return (order_id, at_ms, position, source, *features, *way_columns(reading.way), *baseline, *answer)


def seed_reading(seed: Seed, rider: bytes | None, city: CityView) -> EtaReading:
    """The features of a seed's row. Raises OrderIsOver."""
    order = ORDERS.decode(seed.order)
    state = None if rider is None else unpack_rider(rider)
    return eta_reading(order, state, city, seed.at_ms, order_id=seed.order_id)


class RowPass:
    """Makes chunks in ascending order: the city goes along the clock once, and past the chunks that exist."""

    def __init__(self, folder: Path, on_rows: Callable[[int], None]) -> None:
        self._folder = folder
        self._on_rows = on_rows
        self._city = CityAlong(
            [RiderFiles(folder, shard).changes for shard in range(SHARDS)],
            [OrderFiles(folder, shard).changes for shard in range(SHARDS)],
        )
        self._rows = [SpoolReader(RiderFiles(folder, shard).rows) for shard in range(NO_RIDER + 1)]

    def make(self, chunk: int) -> None:
        """Write the rows of one chunk, which is after all that were made before. Raises OSError."""
        files = ChunkFiles(self._folder, chunk)
        seeds = sorted(self._seeds(chunk), key=_place)
        made = 0
        with SpoolWriter(files.rows) as rows:
            for row in self._rows_of(seeds):
                rows.add(shard_of(row[0]), row)
                made += 1
                if made % PROGRESS_ROWS == 0:
                    self._on_rows(PROGRESS_ROWS)
        self._on_rows(made % PROGRESS_ROWS)
        write_part(files, ChunkPart(made))

    def _rows_of(self, seeds: Sequence[tuple[Seed, bytes | None]]) -> Iterator[tuple[Any, ...]]:
        cities = self._city.along([seed.clock for seed, _ in seeds])
        for (seed, rider), city in zip(seeds, cities, strict=True):
            reading = seed_reading(seed, rider, city.at(seed.at_ms))
            yield row_start(seed.order_id, seed.at_ms, seed.position, RowSource.RULE, reading, NO_ANSWER)

    def _seeds(self, chunk: int) -> Iterator[tuple[Seed, bytes | None]]:
        for reader in self._rows:
            for seed, rider in reader.read(chunk):
                yield Seed._make(seed), rider


def _place(one: tuple[Seed, bytes | None]) -> tuple[int, int, str]:
    seed = one[0]
    return seed.clock, seed.at_ms, seed.order_id
