"""Another generation of payouts is served: nothing is paid again, and no amount goes that is not served."""

from __future__ import annotations

from infrastructure.postgres.payment_decisions import PaymentDecision
from infrastructure.postgres.payment_handovers import NOT_ACTIVE, OTHER_AMOUNT
from tests.support.worlds.payment_world import PaymentWorld, put_riders


def test_a_switch_of_generations_and_back_pays_nothing_again(world: PaymentWorld) -> None:
    put_riders(world, riders=4, each=2)
    world.hand_over()
    second = world.begin()
    world.run(
        "INSERT INTO payout_entries SELECT (jsonb_populate_record(e, '{\"generation\": 2}')).* FROM payout_entries e"
    )
    world.reach(second, 1_000_000)
    for generation in (second, 1):
        world.switch(generation)
        assert world.hand_over() == 0
        assert world.handovers.note_missed(generation) == 0
    assert world.provider.requests == 8
    assert world.handovers.tally().differing == 0


def test_another_amount_afterwards_is_counted_and_not_sent_and_its_adjustments_are_held(world: PaymentWorld) -> None:
    paid = world.put("anna", "payout", 10, 500)
    world.hand_over()
    second = world.begin()
    world.put("anna", "payout", 10, 650, generation=second)
    world.reach(second, 1_000_000)
    world.switch(second)
    adjustment = world.put("anna", "adjustment", 20, 30, payout="payout", generation=second)
    assert world.hand_over() == 0
    assert world.provider.requests == 1
    tally = world.handovers.tally()
    assert (tally.differing, tally.held) == (1, 1)
    listed = {one["entry_id"]: one for one in world.handovers.listed(10)}
    assert (listed[paid]["amount_minor"], listed[paid]["latest_amount_minor"]) == (500, 650)
    assert listed[adjustment]["reason"] == OTHER_AMOUNT
    # A person pays the difference by hand, and decides that the adjustment is right.
    assert world.decide(PaymentDecision.SETTLE, paid, adjustment) == [paid]
    assert world.handovers.tally().differing == 0
    assert world.decide(PaymentDecision.RETRY, adjustment) == [adjustment]
    assert world.hand_over() == 1
    # Another rebuild with a third amount is listed again.
    world.run("UPDATE payout_entries SET amount_minor = 700 WHERE generation = 2 AND entry_id = :paid", paid=paid)
    world.handovers.note_missed(second)
    assert world.handovers.tally().differing == 1


def test_regression_what_was_handed_over_and_is_not_served_any_more_is_listed_and_not_paid_under_another_id(
    world: PaymentWorld,
) -> None:
    """By a tariff of the past an earlier event changed the amount: its adjustment was paid beside the one before."""
    payout = world.put("anna", "payout", 10, 500)
    adjustment = world.put("anna", "of a second event", 20, 100, payout="payout")
    world.hand_over()
    second = world.begin()
    world.put("anna", "payout", 10, 500, generation=second)
    other = world.put("anna", "of a first event", 15, 100, payout="payout", generation=second)
    world.reach(second, 19)
    world.switch(second)
    # The generation has not folded the place of the adjustment yet: it may still make it.
    assert world.handovers.note_withdrawn(second) == 0
    world.reach(second, 20)
    assert world.handovers.note_withdrawn(second) == 1
    assert world.handovers.note_withdrawn(second) == 0
    assert world.hand_over() == 0
    listed = {one["entry_id"]: one for one in world.handovers.listed(10)}
    assert set(listed) == {adjustment, other}
    assert (listed[adjustment]["amount_minor"], listed[adjustment]["latest_amount_minor"]) == (100, 0)
    assert (listed[other]["state"], listed[other]["reason"]) == ("held", OTHER_AMOUNT)
    assert world.handovers.tally().differing == 1
    assert world.provider.keys() == [payout, adjustment]
    # Back at the first generation, it is as it was handed over.
    world.switch(1)
    assert world.handovers.note_missed(1) == 1
    assert world.handovers.tally().differing == 0


def test_an_entry_that_no_provider_has_seen_goes_with_the_amount_that_is_served(world: PaymentWorld) -> None:
    world.put("anna", "payout", 10, 500)
    world.note()
    second = world.begin()
    world.put("anna", "payout", 10, 650, generation=second)
    world.reach(second, 1_000_000)
    world.switch(second)
    # Before the new amount is noted, the old one must not go.
    assert world.driver().round() == 0
    assert world.provider.requests == 0
    world.note()
    world.run("UPDATE payment_handovers SET next_attempt_at = NULL")
    assert world.hand_over() == 1
    assert [body["amount_minor"] for body in world.provider.of("anna")] == [650]
    assert world.handovers.tally().differing == 0


def test_an_entry_that_is_withdrawn_before_any_attempt_is_held(world: PaymentWorld) -> None:
    withdrawn = world.put("anna", "payout", 10)
    world.note()
    second = world.begin()
    world.switch(second)
    # The generation has not folded the place of the entry yet: it may still make it.
    world.reach(second, 9)
    assert world.hand_over() == 0
    assert world.states() == {withdrawn: "open"}
    world.reach(second, 10)
    world.run("UPDATE payment_handovers SET next_attempt_at = NULL")
    assert world.hand_over() == 0
    assert world.states() == {withdrawn: "held"}
    assert world.handovers.listed(1)[0]["reason"] == NOT_ACTIVE
    assert world.provider.requests == 0
