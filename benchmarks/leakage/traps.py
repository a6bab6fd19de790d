"""All traps, in the order of the table."""

from __future__ import annotations

from benchmarks.leakage.history import Trap
from benchmarks.leakage.traps_of_storage import TRAPS_OF_STORAGE
from benchmarks.leakage.traps_of_time import TRAPS_OF_TIME

TRAPS: tuple[Trap, ...] = (*TRAPS_OF_TIME, *TRAPS_OF_STORAGE)
