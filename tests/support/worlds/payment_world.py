"""Entries of payouts in a real database, as their fold leaves them, and what hands them over to a fake provider."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from uuid import UUID, uuid5

from sqlalchemy import text

from domain.identifiers import shard_of
from infrastructure.backends import Backends
from infrastructure.payments.handing_over import HandingOver
from infrastructure.payments.provider import AnswerKind
from infrastructure.payments.webhook import WebhookProvider
from infrastructure.postgres.payment_decisions import PaymentDecision, PaymentDecisions
from infrastructure.postgres.payment_handovers import PaymentHandovers
from projections.payouts import PAYOUTS
from tests.support.servers.fake_provider import SECRET, FakeProvider
from tests.support.waiting import eventually

_IDS = UUID(int=16)
_INSERT = text(
    "INSERT INTO payout_entries (generation, entry_id, shard, kind, payout_id, rider_id, order_id, leg, outcome,"
    " currency, amount_minor, items, tariff_version, ended_at, period, position, seq)"
    " VALUES (:generation, :entry_id, :shard, :kind, :payout_id, :rider_id, :order_id, 'to_customer', 'completed',"
    " 'EUR', :amount, '[]', 1, now() - make_interval(days => :days), '2026-W48', :position, :position)"
)
_FENCE = text(
    "INSERT INTO projection_fences (projection, generation, shard, number, log_id, incarnation, seq, position)"
    " SELECT 'payouts', :generation, shard, :position, '', '', 0, :position FROM generate_series(0, 63) shard"
    " ON CONFLICT DO NOTHING"
)
_ACTIVATE = text(
    "UPDATE projection_generations SET active = true WHERE projection = 'payouts' AND generation = :generation"
)
_DEACTIVATE = text("UPDATE projection_generations SET active = false WHERE projection = 'payouts'")


def entry_of(name: str) -> str:
    """The id of an entry that a test calls so."""
    return str(uuid5(_IDS, name))


class PaymentWorld:
    """``put`` and ``switch`` do what the fold and a rebuild do; ``hand_over`` does what the process does."""

    def __init__(self, backends: Backends, provider: FakeProvider, url: str) -> None:
        self.backends = backends
        self.provider = provider
        self.handovers = PaymentHandovers(backends.engine)
        self.decisions = PaymentDecisions(backends.engine)
        self.webhook = WebhookProvider(url, SECRET, time.time)
        self.answers: list[AnswerKind] = []
        backends.generations.first(PAYOUTS)
        self.reach(1, 1_000_000)

    def put(
        self,
        rider: str,
        name: str,
        position: int,
        amount: int = 500,
        *,
        payout: str = "",
        generation: int = 1,
        days: int = 0,
    ) -> str:
        """An entry; an adjustment of ``payout`` if that is given. Its leg ended ``days`` ago."""
        row = {
            "generation": generation,
            "entry_id": entry_of(name),
            "shard": shard_of(rider),
            "kind": "adjustment" if payout else "payout",
            "payout_id": entry_of(payout or name),
            "rider_id": rider,
            "order_id": f"order-{name}",
            "amount": amount,
            "position": position,
            "days": days,
        }
        with self.backends.engine.begin() as connection:
            connection.execute(_INSERT, row)
        return entry_of(name)

    def reach(self, generation: int, position: int) -> None:
        """The generation has folded every shard up to ``position``."""
        with self.backends.engine.begin() as connection:
            connection.execute(_FENCE, {"generation": generation, "position": position})

    def begin(self) -> int:
        """A second generation, not served yet."""
        return self.backends.generations.begin(PAYOUTS).number

    def switch(self, generation: int) -> None:
        with self.backends.engine.begin() as connection:
            connection.execute(_DEACTIVATE)
            connection.execute(_ACTIVATE, {"generation": generation})

    def run(self, sql: str, **values: object) -> None:
        with self.backends.engine.begin() as connection:
            connection.execute(text(sql), values)

    def decide(self, decision: PaymentDecision, *entry_ids: str) -> list[str]:
        """A person looks at the entries and decides at once. Returns those that the decision was taken on."""
        return self.decisions.decide(decision, self.decisions.find(decision, entry_ids), "by ruth: by hand")

    def driver(self, stop: threading.Event | None = None) -> HandingOver:
        return HandingOver(self.handovers, self.webhook, stop or threading.Event(), self.answers.append)

    def note(self) -> None:
        generation = self.handovers.active_generation()
        assert generation is not None
        while self.handovers.note_new(generation):
            pass

    def hand_over(self) -> int:
        """Note what is new, and one round. Returns how many payments were taken."""
        self.note()
        return self.driver().round()

    def hand_over_until(self, done: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
        def tried() -> bool:
            self.hand_over()
            return done()

        eventually(tried, within_s=within_s, what=what)

    def states(self) -> dict[str, str]:
        with self.backends.engine.connect() as connection:
            found = connection.execute(text("SELECT entry_id, state FROM payment_handovers"))
            return {row.entry_id: row.state for row in found}


def put_riders(world: PaymentWorld, riders: int, each: int) -> list[str]:
    return [
        world.put(f"rider-{rider}", f"{rider}/{number}", 1 + number * riders + rider)
        for number in range(each)
        for rider in range(riders)
    ]
