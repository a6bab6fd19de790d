"""Declares a fault: its name, what is done, on which brokers, and the function that injects it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from tests.support.faults.world import APACHE, EMBEDDED, World

BOTH = (EMBEDDED, APACHE)


class Fault(NamedTuple):
    """A fault. ``inject`` returns when the cause is over, not its effects.

    ``wipes``: brokers that lose acknowledged records by it. ``small``: the broker on which ``make test`` injects it;
    ``make prove`` injects it on each of ``brokers``. ``small_disk``: Postgres is on a file system of its own.
    """

    name: str
    done: str
    inject: Callable[[World, Random], None]
    brokers: Sequence[str] = BOTH
    wipes: Sequence[str] = ()
    small: str = EMBEDDED
    small_disk: bool = False
