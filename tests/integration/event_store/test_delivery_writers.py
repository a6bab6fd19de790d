"""Two processes execute commands on the same orders and riders in Postgres, and one is killed: no command is lost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from eventsourcing.persistence import PersistenceError
from sqlalchemy import Engine, text

from domain.deliveries.application import Deliveries
from domain.deliveries.batch import CommandOutcome
from domain.deliveries.commands import DeliveryCommand
from domain.events.contracts import Codec
from domain.riders.application import Riders
from infrastructure.event_store.aggregates import EventStoreFactory, LogEvent, SnapshotRecorder
from infrastructure.event_store.log_reader import PostgresHistory
from infrastructure.event_store.recorder import EventRecorder
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.waiting import eventually
from tests.support.worlds.delivery_history import HistoryFound, check_history
from tests.unit.domain.given import NOW_MS, a_ping
from tests.unit.domain.given_delivery import VERBS, a_step, an_order

CODEC = Codec(LocalSchemaIds())
RIDERS = ("anna", "ben")
_LOG = text(
    "SELECT aggregate_id, version, event_type, payload, aggregate_type, aggregate_key, event_id, command_id, caused_by,"
    " xmin::text AS transaction FROM events ORDER BY position"
)


def command_side(engine: Engine) -> tuple[Riders, Deliveries]:
    recorder = EventRecorder(engine, partition_rows=1_000)
    riders = Riders(
        EventStoreFactory(recorder, SnapshotRecorder(engine), CODEC), PostgresHistory(engine), snapshot_every=20
    )
    return riders, Deliveries(riders, snapshot_every=3)


def recorded_log(engine: Engine) -> HistoryFound:
    """Check the whole log, and that each step is in one transaction with its legs."""
    with engine.connect() as connection:
        rows = connection.execute(_LOG).all()
    transactions = {row.event_id: row.transaction for row in rows}
    assert all(transactions[row.caused_by] == row.transaction for row in rows if row.event_type.startswith("Leg"))
    log = [
        LogEvent(
            row.aggregate_id, row.version, row.event_type, bytes(row.payload), row.aggregate_type, row.aggregate_key,
            row.event_id, 0, 0, row.command_id, row.caused_by,
        )
        for row in rows
    ]  # fmt: skip
    return check_history(log, CODEC.decode)


def test_invariant_7_what_a_fold_of_riders_needs_of_an_order_is_in_their_stream_by_the_same_transaction(
    engine: Engine,
) -> None:
    _, deliveries = command_side(engine)
    for command in life_of(7):
        assert deliveries.execute([command])[0].recorded
    with engine.connect() as connection:
        rows = connection.execute(_LOG).all()
    by_id = {row.event_id: row for row in rows}
    of_rider = [row for row in rows if row.aggregate_type == "Rider"]
    assert [(by_id[row.caused_by].event_type, row.event_type) for row in of_rider] == [
        ("DeliveryAssigned", "RiderRegistered"),
        ("DeliveryAssigned", "LegStarted"),
        ("DeliveryPickedUp", "LegEnded"),
        ("DeliveryPickedUp", "LegStarted"),
        ("DeliveryCompleted", "LegEnded"),
    ]
    assert [row.transaction for row in of_rider] == [by_id[row.caused_by].transaction for row in of_rider]
    assert len({row.transaction for row in rows}) == len(life_of(7)), "each command is a transaction of its own"
    placed, to_restaurant, to_customer = (
        CODEC.decode(bytes(row.payload)) for row in rows if row.event_type in ("DeliveryPlaced", "LegStarted")
    )
    for leg, target in ((to_restaurant, "restaurant"), (to_customer, "customer")):
        for name in ("order_id", "city", "time_zone", "currency"):
            assert leg[name] == placed[name]
        for name in ("latitude", "longitude"):
            assert leg[f"target_{name}"] == placed[f"{target}_{name}"]


def a_command(chance: random.Random, number: int) -> DeliveryCommand:
    order_id = f"order-{chance.randrange(8)}"
    key = None if chance.random() < 0.5 else f"key-{number}"
    verb = chance.choice(["place", "assign", "assign", "pickup", "pickup", *VERBS])
    if verb == "place":
        return an_order(order_id, command_id=key)
    fields: dict[str, Any] = {"rider_id": chance.choice(RIDERS)} if verb == "assign" else {}
    return a_step(verb, order_id, after_ms=number, command_id=key, **fields)


@pytest.mark.parametrize("seed", range(3))
def test_two_writers_on_the_same_orders_and_riders_leave_an_allowed_history(engine: Engine, seed: int) -> None:
    def write(writer: int) -> int:
        chance = random.Random(f"{seed}/{writer}")
        riders, deliveries = command_side(engine)
        sent: list[DeliveryCommand] = []
        recorded = 0
        for number in range(60):
            batch = [a_command(chance, 100 * number + nth) for nth in range(chance.randrange(1, 5))]
            batch += chance.sample(sent, min(len(sent), chance.randrange(3)))
            recorded += sum(outcome.recorded for outcome in deliveries.execute(batch))
            sent += batch
            at_ms = NOW_MS + 1_000 * number + writer
            riders.record_pings([a_ping(rider, at_ms, received_ms=at_ms) for rider in RIDERS])
            if chance.random() < 0.1:
                riders, deliveries = command_side(engine)
        return recorded

    with ThreadPoolExecutor(2) as pool:
        recorded = list(pool.map(write, (0, 1)))
    found = recorded_log(engine)
    assert sum(recorded) == sum(len(order.commands) for order in found.orders.values()) > 20
    riders, deliveries = command_side(engine)
    for order_id, order in found.orders.items():
        shown = deliveries.get(order_id)
        assert (shown.status, shown.rider_id or "") == (order.status, order.rider_id)
    for rider_id in RIDERS:
        assert {(order, leg) for order, leg in riders.get(rider_id).legs} == found.legs.get(rider_id, set())


def test_a_command_whose_connection_is_ended_inside_the_lock_is_recorded_once(engine: Engine) -> None:
    _, deliveries = command_side(engine)
    deliveries.execute([an_order(), an_order("order-2")])
    outcomes: list[list[CommandOutcome]] = []
    errors: list[PersistenceError] = []

    def assign() -> None:
        try:
            outcomes.append(deliveries.execute([a_step("assign")]))
        except PersistenceError as error:
            errors.append(error)

    with engine.connect() as holder, holder.begin():
        holder.execute(text("SELECT FROM log_head FOR UPDATE"))
        thread = threading.Thread(target=assign)
        thread.start()

        def ended() -> bool:
            with engine.connect() as other:
                waiting = (
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE wait_event_type = 'Lock' AND datname = current_database()"
                )
                return bool(other.execute(text(waiting)).all())

        eventually(ended, what="the writer waits for the log's lock and its connection is ended")
        thread.join(30)
    assert len(errors) == 1
    assert not outcomes
    (outcome,) = deliveries.execute([a_step("assign")])
    assert outcome.recorded
    assert recorded_log(engine).legs == {"anna": {("order-1", "to_restaurant")}}


_PROGRAM = """
import sys
from tests.integration.event_store.test_delivery_writers import command_side, life_of
from infrastructure.postgres.engine import writer_engine
riders, deliveries = command_side(writer_engine(sys.argv[1]))
number = int(sys.argv[2])
while True:
    for command in life_of(number):
        (outcome,) = deliveries.execute([command])
        assert outcome.recorded, outcome
        print(command.order_id, command.VERB, flush=True)
    number += 1
"""


def life_of(number: int) -> list[DeliveryCommand]:
    order_id = f"order-{number}"
    return [an_order(order_id), *(a_step(verb, order_id) for verb in ("assign", "pickup", "arrive", "complete"))]


def test_a_killed_process_loses_no_acknowledged_command_and_its_last_one_is_whole_or_absent(
    engine: Engine, postgres_url: str
) -> None:
    chance = random.Random(7)
    acknowledged: list[str] = []
    for run in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, postgres_url, str(run * 1_000)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(chance.randrange(3, 25)):
            acknowledged.append(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
        acknowledged += [line for line in process.stdout.read().splitlines() if len(line.split()) == 2]
        process.wait()
    eventually(lambda: _idle(engine), what="the server has ended the transactions of the killed processes")
    found = recorded_log(engine)
    _, deliveries = command_side(engine)
    for line in acknowledged:
        order_id, verb = line.split()
        number = int(order_id.removeprefix("order-"))
        (command,) = [each for each in life_of(number) if verb == each.VERB]
        (outcome,) = deliveries.execute([command])
        assert (outcome.rejection, outcome.recorded) == (None, False), "an acknowledged command is recorded"
    # What was not acknowledged was at most one command of each process.
    steps = sum(len(order.commands) for order in found.orders.values())
    assert len(acknowledged) <= steps <= len(acknowledged) + 5


def _idle(engine: Engine) -> bool:
    with engine.connect() as connection:
        others = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND state <> 'idle' AND backend_type = 'client backend'"
        )
        return not connection.execute(text(others)).scalar_one()
