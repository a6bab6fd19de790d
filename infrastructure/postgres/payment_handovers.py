"""Stores which payouts and adjustments were handed to the payment provider, and how it answered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, TextClause

from domain.identifiers import SHARDS, shard_of
from infrastructure.postgres import payment_statements as sql
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.generations import active
from read_models.payouts.tables import NAME

OPEN, DONE, HELD = "open", "done", "held"
NOT_ACTIVE = "the active generation of payouts does not have it"
OTHER_AMOUNT = "its payout, or another adjustment of it, was handed over with another amount"
LONG_AGO = "its leg ended more than a week before it was noted: was it paid elsewhere?"
NOT_YET_S = 5.0
"""Until an entry is looked at again that the active generation has not folded yet, or has with another amount."""
HISTORY_DAYS = 7
"""A payout whose leg ended earlier is of an imported history, or payments began late, or it was reported late."""
FIND_BATCH = 2_000
"""Bounds one transaction that notes new entries."""
WITHDRAW_BATCH = 50_000
"""Entries in memory while it is compared what a provider has and the generation does not: 10 MB."""


class UnpaidHistory(Exception):
    """There are payouts of legs that ended long ago, and no setting says whether to pay them. Nothing is noted."""


class OpenHandover(NamedTuple):
    """The first entry of a rider that the provider does not have. ``is_held``: a person decides before it goes on.

    ``since_attempt_s``: of an attempt that begins, since the one before began; None: it is the first one.
    """

    entry_id: str
    payout_id: str
    kind: str
    rider_id: str
    order_id: str
    leg: str
    currency: str
    amount_minor: int
    period: str
    ended_at: datetime
    position: int
    seq: int
    state: str
    attempts: int
    since_attempt_s: float | None = None

    @property
    def is_held(self) -> bool:
        return self.state == HELD


class HandoverTally(NamedTuple):
    """Hand-overs that are not done or skipped.

    ``oldest_s``: since the first attempt of the oldest open one; None: none was tried. An entry
    behind a held one is not tried, and must not look like a provider that takes nothing.
    ``differing``: those whose amount in the active generation is not the one handed over, and not settled.
    """

    open: int
    held: int
    retried: int
    oldest_s: float | None
    differing: int


class AnswerRecord(NamedTuple):
    """What an attempt led to. ``wait_s``: until the next attempt of an open one."""

    state: str
    status: int
    digest: str
    reason: str
    wait_s: float


class PaymentHandovers:
    """Blocks; safe in several threads. Every method raises PortUnavailable.

    ``since``: entries of legs that ended before are never noted. None: no history of payouts may be in the log, and an
    entry from long ago is noted as held.
    """

    def __init__(self, engine: Engine, since: datetime | None = None) -> None:
        self._engine = engine
        self._since = since
        self._noting = {"since": since, "days": HISTORY_DAYS, "late_reason": LONG_AGO}

    def active_generation(self) -> int | None:
        """The generation of ``payouts`` that is served; None before the first."""
        with unavailable_as_port_error():
            return active(self._engine, NAME)

    def note_new(self, generation: int) -> int:
        """Note the entries that the generation has after the cursors. Returns how many shards have more.

        Raises UnpaidHistory.
        """
        more = 0
        with unavailable_as_port_error(), self._engine.begin() as connection:
            connection.execute(sql.OTHER_CURSORS, {"generation": generation})
            news = connection.execute(sql.NEWS, {"generation": generation, "shards": SHARDS}).all()
        for shard, position in news:
            with unavailable_as_port_error(), self._engine.begin() as connection:
                more += self._note(connection, generation, shard, position)
        with unavailable_as_port_error(), self._engine.begin() as connection:
            connection.execute(sql.HOLD_ADJUSTMENTS, {"reason": OTHER_AMOUNT})
        return more

    def note_all(self, generation: int, on_batch: Callable[[], bool]) -> int:
        """Note every entry that is not noted yet, in short transactions. Returns how many no cursor had passed.

        ``on_batch`` is called between them, and returns whether to go on. One statement for a long log would be silent
        for longer than a thread may be: the process would end, its transaction be lost, and the next one begin again.
        Raises UnpaidHistory, before anything is noted.
        """
        with unavailable_as_port_error(), self._engine.connect() as connection:
            self._refuse_history(connection, sql.HISTORY, {"generation": generation})
        while self.note_new(generation):
            if not on_batch():
                return 0
        return self.note_missed(generation)

    def note_missed(self, generation: int) -> int:
        """Note every entry that is not noted with its amount yet, wherever the cursors are. Returns how many were.

        A shard that was refolded below its cursor, after the log was restored, could otherwise leave one unpaid. Raises
        UnpaidHistory.
        """
        with unavailable_as_port_error(), self._engine.begin() as connection:
            self._refuse_history(connection, sql.HISTORY, {"generation": generation})
            return int(connection.execute(sql.MISSED, {"generation": generation, **self._noting}).rowcount)

    def note_withdrawn(self, generation: int) -> int:
        """Note 0 as the amount now of what was handed over, if the generation is past it and does not have it.

        So it is counted as differing: after another tariff an adjustment may have another id, and be paid as well.
        Returns how many were noted.
        """
        with unavailable_as_port_error(), self._engine.begin() as connection:
            fences = {row.shard: row.position for row in connection.execute(sql.FENCES, {"generation": generation})}
            parameters = {"generation": generation, "limit": WITHDRAW_BATCH}
            found = [
                row.entry_id
                for row in connection.execute(sql.NOT_SERVED, parameters)
                if fences.get(shard_of(row.rider_id), 0) >= row.position
            ]
            connection.execute(sql.WITHDRAW, {"entry_ids": found})
            return len(found)

    def due_riders(self, limit: int) -> list[str]:
        """Riders whose next entry may be handed over now."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return list(connection.execute(sql.DUE, {"limit": limit}).scalars())

    def next_of(self, rider_id: str) -> OpenHandover | None:
        """The first entry of a rider that is not done."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            row = connection.execute(sql.NEXT, {"rider_id": rider_id}).one_or_none()
            return None if row is None else OpenHandover(*row)

    def begin(self, rider_id: str, answered: tuple[str, AnswerRecord] | None = None) -> OpenHandover | None:
        """Record that an attempt of the rider's first waiting entry begins, before it does.

        From then on a provider may have it. ``answered``: an entry and the outcome of its attempt, recorded in the same
        transaction. Returns the entry that begins, as it must be handed over. None: there is none, or it is held; or no
        provider has seen it, and the generation that is active now does not have it with this amount.
        """
        with unavailable_as_port_error(), self._engine.begin() as connection:
            if answered is not None:
                connection.execute(sql.RECORD, {"entry_id": answered[0], **answered[1]._asdict()})
            row = connection.execute(sql.BEGIN, {"rider_id": rider_id}).one_or_none()
            return None if row is None else OpenHandover(*row)

    def set_aside(self, handover: OpenHandover) -> None:
        """Hold an entry that no provider has seen, if it is withdrawn; else look at it again in NOT_YET_S.

        Withdrawn: the active generation is past its position and does not have it.
        """
        parameters = {
            "entry_id": handover.entry_id,
            "shard": shard_of(handover.rider_id),
            "reason": NOT_ACTIVE,
            "wait_s": NOT_YET_S,
        }
        with unavailable_as_port_error(), self._engine.begin() as connection:
            connection.execute(sql.SET_ASIDE, parameters)

    def record(self, entry_id: str, answer: AnswerRecord) -> None:
        """Record the outcome of an attempt. One that is done or skipped stays so."""
        with unavailable_as_port_error(), self._engine.begin() as connection:
            connection.execute(sql.RECORD, {"entry_id": entry_id, **answer._asdict()})

    def tally(self) -> HandoverTally:
        """What is not done yet."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            row = connection.execute(sql.TALLY).one()
            oldest_s = None if row.oldest_s is None else float(row.oldest_s)
            return HandoverTally(row.open, row.held, row.retried, oldest_s, row.differing)

    def listed(self, limit: int) -> list[dict[str, Any]]:
        """Entries that a person decides on: held, or with another amount than was handed over."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return [row._asdict() for row in connection.execute(sql.LIST, {"limit": limit})]

    def _refuse_history(self, connection: Connection, statement: TextClause, parameters: dict[str, Any]) -> None:
        # A company that imports its orders has paid them. Handing them over would pay all of them again. What is
        # recorded after the first hand-over is of no import, and must not stop the others (invariant 16).
        if self._since is not None:
            return
        found = connection.execute(statement, {**parameters, "days": HISTORY_DAYS}).one()
        if found.entries:
            raise UnpaidHistory(
                f"{found.entries:,} payouts are of legs that ended long ago, the latest on {found.latest:%Y-%m-%d}, "
                "and were never handed over, so nothing is handed over now"
            )

    def _note(self, connection: Connection, generation: int, shard: int, after: int) -> int:
        """Note one batch of a shard with its cursor in one transaction. Returns 1 if it found any, else 0."""
        parameters = {"generation": generation, "shard": shard, "after": after, "limit": FIND_BATCH}
        self._refuse_history(connection, sql.HISTORY_NEXT, parameters)
        position = connection.execute(sql.NOTE, {**parameters, **self._noting}).scalar_one()
        if position is None:
            return 0
        connection.execute(sql.MOVE_CURSOR, {"generation": generation, "shard": shard, "position": position})
        return 1
