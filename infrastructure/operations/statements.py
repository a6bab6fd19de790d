"""Statements for an operator: read, recomputed from the log, and closed."""

from __future__ import annotations

from typing import NamedTuple

from domain.riders.command_service import RiderCommands
from domain.riders.commands import CloseStatement
from infrastructure.backends import Backends
from infrastructure.errors import UserError
from infrastructure.postgres.payout_reads import PayoutReads, StatementTooLong
from infrastructure.timestamps import now_ms
from projections.core.ports import ParkedEvent
from projections.payouts import PAYOUTS
from projections.replay.as_of import AsOf
from projections.replay.key_replay import KeyReplay
from read_models.payouts.statement import EntryRow, StatementRead, differences, rows_of


class VerifiedStatement(NamedTuple):
    """A statement beside what the log says; ``differences`` has one line an entry. ``events``: folded for it."""

    differences: list[str]
    events: int
    parked: ParkedEvent | None


def read_statement(backends: Backends, rider_id: str, period: str) -> StatementRead:
    """Raises UserError for a rider of whom no event is folded; SQLAlchemyError, BrokenState."""
    try:
        read = PayoutReads(backends.engine).statement(rider_id, period)
    except StatementTooLong as error:
        raise UserError(str(error)) from error
    if read.state is None:
        raise UserError(f"no event of rider {rider_id!r} is in the payouts: is the id right, and does `serve` run?")
    return read


def verify_statement(
    backends: Backends, rider_id: str, period: str, read: StatementRead, currency: str | None = None
) -> VerifiedStatement:
    """Folds the rider's events from the first to where the read model is, and compares every column of every entry.

    Raises what a replay raises.
    """
    horizon = backends.archive.horizon(AsOf.at_position(read.position))
    replayed = KeyReplay(backends.replay_source(PAYOUTS)).at(rider_id, horizon)
    recomputed = [] if replayed is None else rows_of(replayed.rows, period)

    def wanted(rows: list[EntryRow]) -> list[EntryRow]:
        return [row for row in rows if currency is None or row["currency"] == currency]

    found = differences(wanted(list(read.rows)), wanted(recomputed))
    return VerifiedStatement(found, replayed.events if replayed else 0, replayed.parked if replayed else None)


def close_statement(backends: Backends, rider_id: str, period: str, currency: str, by: str) -> int:
    """Records StatementClosed. Returns its position. Raises UserError for a command that is refused."""
    command = CloseStatement(rider_id=rider_id, by=by, period=period, currency=currency, received_ms=now_ms())
    (outcome,) = RiderCommands(backends.riders).execute([command])
    if outcome.rejection is not None:
        raise UserError(str(outcome.rejection))
    assert outcome.position is not None, "a command without Idempotency-Key is never a repeat"
    return outcome.position
