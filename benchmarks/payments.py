"""Hands payouts over to a provider in another process: entries a second, and the CPU of each process an entry.

python -m benchmarks.payments [--entries 5000] [--riders 100]

The provider answers once the payment is on disk. The connections it serves are those that ``payments`` opens.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import psutil
from sqlalchemy import text

from benchmarks.cpu import seconds_of
from benchmarks.support import postgres, report
from domain.identifiers import shard_of
from infrastructure.backends import Backends
from infrastructure.payments.handing_over import HandingOver
from infrastructure.payments.webhook import WebhookProvider
from infrastructure.postgres.payment_handovers import PaymentHandovers
from infrastructure.settings.settings import Settings
from projections.payouts import PAYOUTS
from tests.support.servers.fake_provider import SECRET
from tests.support.servers.provider_process import provider_process

_PUT = text(
    "INSERT INTO payout_entries (generation, entry_id, shard, kind, payout_id, rider_id, order_id, leg, outcome,"
    " currency, amount_minor, items, tariff_version, ended_at, period, position, seq)"
    " VALUES (1, :id, :shard, 'payout', :id, :rider, :order, 'to_customer', 'completed', 'EUR', 500, '[]', 1, now(),"
    " '2026-W48', :position, :position)"
)


def put(backends: Backends, entries: int, riders: int) -> None:
    """Entries as the fold of payouts leaves them, of each rider in turn."""
    names = [f"rider-{number}" for number in range(riders)]
    rows = [
        {
            "id": f"00000000-0000-5000-8000-{number:012}",
            "shard": shard_of(names[number % riders]),
            "rider": names[number % riders],
            "order": f"order-{number}",
            "position": number + 1,
        }
        for number in range(entries)
    ]
    backends.generations.first(PAYOUTS)
    with backends.engine.begin() as connection:
        connection.execute(_PUT, rows)


def servers() -> tuple[list[psutil.Process], list[psutil.Process]]:
    """The processes of Postgres and of the provider, which this one has started."""
    children = psutil.Process().children(recursive=True)
    lines = {process: " ".join(process.cmdline()) for process in children}
    return (
        [one for one, line in lines.items() if "provider_program" not in line],
        [one for one, line in lines.items() if "provider_program" in line],
    )


def figures(entries: int, riders: int) -> dict[str, float]:
    """Note and hand over all entries once. Raises RuntimeError if the provider has not booked each once."""
    with (
        postgres() as url,
        tempfile.TemporaryDirectory() as folder,
        provider_process(Path(folder)) as provider,
        Backends(Settings(postgres_url=url), pool_size=12) as backends,
    ):
        put(backends, entries, riders)
        webhook = WebhookProvider(provider.url, SECRET, time.time)
        handovers = PaymentHandovers(backends.engine)
        driver = HandingOver(handovers, webhook, threading.Event())
        database, providers = servers()
        before = time.process_time(), seconds_of(database), seconds_of(providers), time.perf_counter()
        taken = 0
        while taken < entries:
            handovers.note_new(1)
            taken += driver.round()
        database, providers = servers()
        after = time.process_time(), seconds_of(database), seconds_of(providers), time.perf_counter()
        idle_from = time.process_time(), seconds_of(database)
        for _ in range(IDLE_ROUNDS):
            handovers.note_new(1)
            driver.round()
        idle = time.process_time() - idle_from[0], seconds_of(database) - idle_from[1]
        webhook.close()
        if len(provider.booked()) != entries or provider.requests() != entries:
            raise RuntimeError(f"{provider.requests()} requests, {len(provider.booked())} payments of {entries}")
    own_s, database_s, provider_s, wall_s = (b - a for a, b in zip(before, after, strict=True))
    return {
        "entries a second": entries / wall_s,
        "CPU ms an entry, payments": own_s / entries * 1e3,
        "CPU ms an entry, Postgres": database_s / entries * 1e3,
        "CPU ms an entry, provider": provider_s / entries * 1e3,
        "CPU ms of a round with nothing to do, payments": idle[0] / IDLE_ROUNDS * 1e3,
        "CPU ms of a round with nothing to do, Postgres": idle[1] / IDLE_ROUNDS * 1e3,
    }


IDLE_ROUNDS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=5_000)
    parser.add_argument("--riders", type=int, default=100)
    given = parser.parse_args()
    report("payments", figures(given.entries, given.riders), {})


if __name__ == "__main__":
    main()
