"""Payouts on real Postgres are handed to a provider over real HTTP: none lost, none twice, in order a rider."""

from __future__ import annotations

import random
import threading
from collections import Counter

from sqlalchemy import event, text

from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.payments.handing_over import BOOKED_AFTER_S, BOOKED_FROM_ATTEMPT
from infrastructure.payments.provider import AnswerKind
from infrastructure.postgres.payment_decisions import PaymentDecision
from infrastructure.postgres.payment_handovers import FIND_BATCH
from infrastructure.postgres.payment_statements import NEWS
from infrastructure.settings.settings import Settings
from tests.support.servers.fake_provider import FakeProvider, ProviderFault, fake_provider
from tests.support.worlds.paid_city import PaidCity
from tests.support.worlds.payment_world import PaymentWorld, entry_of, put_riders

LONG_BEFORE = f"interval '{BOOKED_AFTER_S} s'"


def is_in_order(world: PaymentWorld, riders: int, each: int) -> bool:
    wanted = {f"rider-{r}": [entry_of(f"{r}/{n}") for n in range(each)] for r in range(riders)}
    return all([body["entry_id"] for body in world.provider.of(rider)] == ids for rider, ids in wanted.items())


def test_every_entry_is_handed_over_once_in_order_and_with_all_that_a_provider_needs(world: PaymentWorld) -> None:
    put_riders(world, riders=10, each=4)
    world.put("anna", "payout", 900, 750)
    world.put("anna", "adjustment", 901, -120, payout="payout")
    world.provider.delay_s = 0.02
    assert world.hand_over() == 42
    assert is_in_order(world, 10, 4)
    payout, adjustment = world.provider.of("anna")
    assert (payout["amount_minor"], adjustment["amount_minor"]) == (750, -120)
    assert adjustment["payout_id"] == payout["entry_id"]
    assert payout["order_id"] == "order-payout"
    assert 1 < world.provider.most_at_once <= 8
    assert world.hand_over() == 0
    assert world.provider.requests == 42
    assert set(world.states().values()) == {"done"}


def test_an_entry_costs_one_commit_before_its_call_and_a_look_without_news_four_transactions(
    world: PaymentWorld,
) -> None:
    """That an entry is done and that the next one begins are one transaction; 64 shards are one query."""
    ends: Counter[str] = Counter()
    event.listen(world.backends.engine, "commit", lambda _connection: ends.update(["commit"]))
    event.listen(world.backends.engine, "rollback", lambda _connection: ends.update(["rollback"]))
    put_riders(world, riders=1, each=20)
    world.note()
    ends.clear()
    assert world.driver().round() == 20
    # A commit before each call, one after the last, and the reads of who is due and whether there is more.
    assert ends == {"commit": 21, "rollback": 2}
    ends.clear()
    assert world.handovers.note_new(1) == 0
    assert world.driver().round() == 0
    assert ends.total() <= 4


def test_a_stop_in_mid_round_changes_nothing_of_riders_whose_turn_has_not_begun(world: PaymentWorld) -> None:
    put_riders(world, riders=3, each=2)
    world.note()
    before = world.states()
    stop = threading.Event()
    stop.set()
    changed: list[str] = []
    event.listen(world.backends.engine, "commit", lambda _connection: changed.append("commit"))
    assert world.driver(stop).round() == 0
    assert (changed, world.states(), world.provider.requests) == ([], before, 0)


def test_the_look_for_news_reads_an_index_though_the_planner_does_not_know_the_generation(world: PaymentWorld) -> None:
    put_riders(world, riders=200, each=20)
    with world.backends.engine.connect() as connection:
        values = {"generation": 1, "shards": SHARDS}
        plan = "\n".join(connection.execute(text(f"EXPLAIN {NEWS.text}"), values).scalars())
    assert "Seq Scan on payout_entries" not in plan, plan
    assert "Limit" in plan


def test_an_amount_of_0_is_done_without_a_call_and_holds_nothing_up(world: PaymentWorld) -> None:
    world.put("anna", "nothing", 900, 0)
    world.put("anna", "something", 901, 120)
    assert world.hand_over() == 2
    assert [body["amount_minor"] for body in world.provider.of("anna")] == [120]
    assert set(world.states().values()) == {"done"}


def test_every_payout_of_a_city_reaches_a_provider_that_fails_in_every_way(
    postgres_url: str, provider: tuple[FakeProvider, str]
) -> None:
    chance = random.Random(16)
    faults = [
        ProviderFault(True, 0),
        ProviderFault(False, 0),
        ProviderFault(True, 500),
        ProviderFault(False, 503),
        ProviderFault(False, 429, (("Retry-After", "1"),)),
    ]
    with Backends(Settings(postgres_url=postgres_url), pool_size=24) as backends:
        city = PaidCity(backends, 6, 4, seed=5)
        city.live()
        found = provider[0]
        world = PaymentWorld(backends, *provider)
        seen: Counter[str] = Counter()

        def choose(body: dict[str, object]) -> ProviderFault | None:
            seen[str(body["entry_id"])] += 1
            fails = seen[str(body["entry_id"])] == 1 and chance.random() < 0.3
            return chance.choice(faults) if fails else None

        found.choose = choose
        world.hand_over_until(lambda: set(world.states().values()) == {"done"}, "all are handed over", 60)
        with backends.engine.connect() as connection:
            entries = connection.execute(
                text("SELECT rider_id, entry_id, amount_minor FROM payout_entries ORDER BY rider_id, seq")
            ).all()
        assert len(entries) > 20
        assert sorted(found.keys()) == sorted(entry.entry_id for entry in entries if entry.amount_minor)
        for rider in city.riders:
            of_rider = [(e.entry_id, e.amount_minor) for e in entries if e.rider_id == rider and e.amount_minor]
            assert [(body["entry_id"], body["amount_minor"]) for body in found.of(rider)] == of_rider
        assert AnswerKind.RETRY in world.answers
        world.webhook.close()


def test_a_provider_that_books_and_loses_its_answers_books_each_once(world: PaymentWorld) -> None:
    put_riders(world, riders=5, each=2)
    lost: set[str] = set()

    def choose(body: dict[str, object]) -> ProviderFault | None:
        first = body["entry_id"] not in lost
        lost.add(str(body["entry_id"]))
        return ProviderFault(True, 0) if first else None

    world.provider.choose = choose
    world.hand_over_until(lambda: set(world.states().values()) == {"done"}, "all are handed over")
    assert is_in_order(world, 5, 2)
    assert world.provider.requests == 20


def test_a_payment_whose_request_in_progress_fails_is_not_lost(world: PaymentWorld) -> None:
    """Regression: 409 counted as done, so a payment was lost whose first request then failed at the provider."""
    world.put("anna", "a", 1)
    answers = iter([ProviderFault(False, 0), ProviderFault(False, 409), ProviderFault(False, 500)])
    world.provider.choose = lambda body: next(answers, None)
    world.hand_over_until(lambda: set(world.states().values()) == {"done"}, "it is handed over")
    assert world.provider.keys() == [entry_of("a")]
    assert world.provider.requests == 4


def test_a_conflict_that_lasts_means_that_the_payment_is_booked(world: PaymentWorld) -> None:
    world.put("anna", "a", 1)
    world.provider.choose = lambda body: ProviderFault(True, 0 if world.provider.requests == 1 else 409)
    for _ in range(BOOKED_FROM_ATTEMPT):
        assert set(world.states().values()) <= {"open"}
        world.run(f"UPDATE payment_handovers SET next_attempt_at = now(), latest_attempt_at = now() - {LONG_BEFORE}")
        world.hand_over()
    assert world.states() == {entry_of("a"): "done"}
    assert world.provider.keys() == [entry_of("a")]
    assert world.provider.requests == BOOKED_FROM_ATTEMPT


def test_a_conflict_soon_after_a_restart_is_no_booking_whatever_the_attempt(world: PaymentWorld) -> None:
    """Regression: after a long outage the first conflict counted as booked, while the request of the process that was
    killed was in progress; it failed, and the rider was never paid."""
    world.put("anna", "a", 1)
    world.provider.choose = lambda body: ProviderFault(False, 503)
    for _ in range(BOOKED_FROM_ATTEMPT):
        world.hand_over()
        world.run("UPDATE payment_handovers SET next_attempt_at = now()")
    handovers = world.handovers
    assert handovers.begin("anna") is not None, "the process is killed after this, its request is in progress"
    world.provider.choose = lambda body: ProviderFault(False, 409)
    assert world.hand_over() == 0
    assert world.states() == {entry_of("a"): "open"}
    world.run(f"UPDATE payment_handovers SET next_attempt_at = now(), latest_attempt_at = now() - {LONG_BEFORE}")
    world.provider.choose = lambda body: None
    assert world.hand_over() == 1
    assert world.provider.keys() == [entry_of("a")]


def test_a_failing_entry_holds_up_its_rider_alone_and_waits_as_asked(world: PaymentWorld) -> None:
    put_riders(world, riders=3, each=2)
    bad = entry_of("1/0")
    world.provider.choose = lambda body: (
        ProviderFault(False, 429, (("Retry-After", "600"),)) if body["entry_id"] == bad else None
    )
    assert world.hand_over() == 4
    assert world.hand_over() == 0
    assert world.provider.requests == 5
    assert world.provider.of("rider-1") == []
    tally = world.handovers.tally()
    assert (tally.open, tally.retried, tally.held) == (2, 1, 0)
    assert tally.oldest_s is not None


def test_a_refused_entry_is_held_until_a_person_releases_it(world: PaymentWorld) -> None:
    put_riders(world, riders=2, each=2)
    refused = entry_of("0/0")
    world.provider.choose = lambda body: ProviderFault(False, 422) if body["entry_id"] == refused else None
    assert world.hand_over() == 2
    (listed,) = world.handovers.listed(10)
    assert (listed["entry_id"], listed["state"], listed["reason"]) == (refused, "held", "status 422")
    assert world.hand_over() == 0
    # What waits behind it is not late at the provider.
    assert (world.handovers.tally().open, world.handovers.tally().oldest_s) == (1, None)
    world.provider.choose = lambda body: None
    assert world.decide(PaymentDecision.RETRY, refused, "no-such") == [refused]
    assert world.hand_over() == 2
    assert is_in_order(world, 2, 2)
    assert world.decisions.find(PaymentDecision.RETRY, None) == []


def test_a_redirect_is_not_followed(world: PaymentWorld) -> None:
    world.put("anna", "a", 1)
    world.provider.choose = lambda body: ProviderFault(False, 307, (("Location", "/elsewhere"),))
    world.hand_over()
    assert world.provider.requests == 1
    assert world.handovers.tally().held == 1


def test_a_skipped_entry_is_never_handed_over_and_its_rider_goes_on(world: PaymentWorld) -> None:
    put_riders(world, riders=1, each=2)
    first = entry_of("0/0")
    world.provider.choose = lambda body: ProviderFault(False, 404) if body["entry_id"] == first else None
    world.hand_over()
    assert world.decide(PaymentDecision.SKIP, first, entry_of("0/1")) == [first]
    assert world.hand_over() == 1
    assert world.provider.keys() == [entry_of("0/1")]
    assert world.decisions.find(PaymentDecision.RETRY, None) == []


def test_two_drivers_at_once_book_nothing_twice(world: PaymentWorld) -> None:
    put_riders(world, riders=12, each=5)
    world.note()
    failures: list[BaseException] = []

    def drive() -> None:
        try:
            while world.driver().round():
                pass
        except BaseException as error:  # noqa: BLE001 - asserted below
            failures.append(error)

    threads = [threading.Thread(target=drive) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    world.hand_over_until(lambda: set(world.states().values()) == {"done"}, "all are handed over")
    assert is_in_order(world, 12, 5)


def test_an_entry_below_a_cursor_of_a_log_that_was_restored_is_found(world: PaymentWorld) -> None:
    world.put("anna", "late", 100)
    world.hand_over()
    world.put("anna", "early", 50)
    assert world.hand_over() == 0
    assert world.handovers.note_missed(1) == 1
    assert world.hand_over() == 1
    assert len(set(world.provider.keys())) == 2


def test_hand_overs_that_a_backup_has_lost_are_repeated_with_the_same_keys(world: PaymentWorld) -> None:
    put_riders(world, riders=3, each=2)
    world.hand_over()
    world.run("DELETE FROM payment_handovers")
    world.run("DELETE FROM payment_cursors")
    assert world.hand_over() == 6
    assert world.provider.requests == 12
    assert is_in_order(world, 3, 2)


def test_a_provider_that_was_away_gets_everything_in_order(postgres_url: str) -> None:
    with Backends(Settings(postgres_url=postgres_url), pool_size=24) as backends:
        with fake_provider() as (gone, url):
            pass
        world = PaymentWorld(backends, gone, url)
        put_riders(world, riders=3, each=2)
        assert world.hand_over() == 0
        assert world.handovers.tally().retried == 3
        world.webhook.close()
        with fake_provider() as (back, url):
            again = PaymentWorld(backends, back, url)
            again.hand_over_until(lambda: len(back.keys()) >= 6, "all are handed over", 60)
            assert is_in_order(again, 3, 2)
            again.webhook.close()


def test_regression_all_entries_of_a_long_log_are_noted_in_short_transactions(world: PaymentWorld) -> None:
    """One statement for all of them was silent for longer than the watchdog allows: the process ended and began again.

    None was paid then, however often it was restarted.
    """
    world.put("anna", "first", 1)
    columns = "kind, rider_id, leg, outcome, currency, amount_minor, items, tariff_version, ended_at, period"
    world.run(
        f"INSERT INTO payout_entries (generation, shard, entry_id, payout_id, order_id, position, seq, {columns})"
        f" SELECT generation, shard, 'e' || n, 'e' || n, 'o' || n, n, n, {columns}"
        " FROM payout_entries, generate_series(2, :entries) n",
        entries=2 * FIND_BATCH + 1,
    )
    noted: list[int] = []

    def on_batch() -> bool:
        noted.append(len(world.states()))
        return True

    assert world.handovers.note_all(1, on_batch) == 0
    assert noted == [FIND_BATCH, 2 * FIND_BATCH, 2 * FIND_BATCH + 1]


def test_a_stop_ends_the_noting_of_a_long_log(world: PaymentWorld) -> None:
    put_riders(world, riders=2, each=1)
    assert world.handovers.note_all(1, lambda: False) == 0
    assert len(world.states()) == 2
