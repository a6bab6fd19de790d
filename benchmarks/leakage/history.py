"""What a trap is made of: a history in the order of its commits, and questions with their right answers. Plain data.

Times are milliseconds after the start of the history. Standard library only: other interpreters read it too.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

START_MS = 1_700_000_000_000
"""Epoch milliseconds of time 0: long past, since no store may be asked for the future."""

TTL_MS = 1_800_000
"""Time to live of a measurement: at this age it still counts, a millisecond later it does not."""

ROW_MS = 100_000
"""The instant of the rows whose labels are outcomes."""

S = 1_000
"""Milliseconds in a second."""

REFUSE = "refuse"
"""The right answer where none can be computed: an error, and never a value or null."""


class Axis(StrEnum):
    """Which events count at an instant."""

    KNOWN = "known"
    """Those that readers of the store could see by then: training without leakage."""
    EVENT = "event"
    """Those that had happened by then, whenever they were recorded: labels and audits."""
    POSITION = "position"
    """Those that had been applied by what gave an answer: the first ``after`` events of the history."""


class Kind(StrEnum):
    """What the events of a history say."""

    MEASUREMENT = "measurement"
    """A value at its event time. It expires (``TTL_MS``)."""
    FACT = "fact"
    """A value that holds from its event time until a later event; an event of the same time revises it."""
    LABEL = "label"
    """A verdict on what happened at the event time; a later one of the same time corrects it."""
    OUTCOME = "outcome"
    """How many seconds after ``ROW_MS`` an order was handed over, at the event time: the label of a row to train on."""


class Feature(StrEnum):
    """What is asked of an entity."""

    LATEST = "latest"
    """The value with the latest event time; of one event time, that which was committed last."""
    COUNT = "count"
    """The number of distinct events."""
    TOTAL = "total"
    """The sum of the values, correctly rounded, whatever their order."""


class Event(NamedTuple):
    """One commit.

    ``committed_ms`` is when readers could see it, by true time. ``stamped_ms`` is what a column "created" shows: the
    clock of the writer at a moment before the commit; None: its clock at the commit. ``clock_error_ms`` is how far that
    clock is ahead of true time. ``name`` is the identity: an event with the same name, entity and event time is a
    repeat. A ``rough`` value is one that definition 2 of the feature leaves out.
    """

    entity: str
    event_ms: int
    committed_ms: int
    value: float
    name: str
    stamped_ms: int | None = None
    clock_error_ms: int = 0
    rough: bool = False

    @property
    def clock_ms(self) -> int:
        """What the writer's clock shows at the commit."""
        return self.committed_ms + self.clock_error_ms

    @property
    def created_ms(self) -> int:
        """What a column "created" has."""
        return self.clock_ms if self.stamped_ms is None else self.stamped_ms


class RecomputedRow(NamedTuple):
    """A row of a store of values, written by the job that computes definition 2 for the past. A log has none."""

    entity: str
    event_ms: int
    committed_ms: int
    value: float


class Redefine(NamedTuple):
    """Definition 2 of the feature is deployed beside definition 1: it leaves rough values out."""

    rows: tuple[RecomputedRow, ...]


class Detach(NamedTuple):
    """Retention removes everything that was committed so far."""


class BackUp(NamedTuple):
    """A backup is made."""


class Restore(NamedTuple):
    """The store is restored to the backup; what was committed since is lost."""


Step = Event | Redefine | Detach | BackUp | Restore


class Ask(NamedTuple):
    """One question, asked after the whole history; and its right answer.

    ``after``: on the axis position, how many events of the history the answer had applied. ``leaks``: answers that only
    a value which does not count can give. ``served_definition``: that of the answer on record which is recomputed.
    """

    axis: Axis
    entity: str
    at_ms: int
    right: float | str | None
    reason: str
    leaks: tuple[float, ...] = ()
    after: int | None = None
    feature: Feature = Feature.LATEST
    definition: int = 1
    served_definition: int | None = None


class Trap(NamedTuple):
    """A history that has misled feature stores."""

    name: str
    kind: Kind
    story: str
    steps: tuple[Step, ...]
    asks: tuple[Ask, ...]

    @property
    def events(self) -> tuple[Event, ...]:
        return tuple(step for step in self.steps if isinstance(step, Event))

    @property
    def ttl_ms(self) -> int | None:
        return TTL_MS if self.kind is Kind.MEASUREMENT else None
