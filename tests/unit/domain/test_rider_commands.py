"""Reviews of alerts and closed statements, in given/when/then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import (
    DomainError,
    IdempotencyConflict,
    InvalidCurrency,
    InvalidPeriod,
    InvalidRiderId,
    InvalidType,
    InvalidVerdict,
    StatementAlreadyClosed,
    StatementPeriodOpen,
    TimestampInFuture,
)
from domain.riders.commands import MAX_WHY_CODE_POINTS, CloseStatement, ReviewAlert, RiderCommand
from domain.riders.leg import Leg
from domain.riders.periods import period_bounds_ms, period_of
from domain.riders.rider import MAX_KEPT, Rider
from tests.unit.domain.given import NOW_MS, Given, a_ping

ALERT = "5f0e8f65-2b1f-5a8d-9c6e-0b7e9d1c3f6a"
WEEK = "2026-W38"
WEEK_ENDS_MS = period_bounds_ms(WEEK)[1]
LEG = Leg("order-1", "to_restaurant", 52.51, 13.41)
REVIEWED, CLOSED = Rider.AlertReviewed, Rider.StatementClosed


def a_review(**fields: Any) -> ReviewAlert:
    values: dict[str, Any] = {
        "rider_id": "anna",
        "received_ms": NOW_MS,
        "alert_id": ALERT,
        "verdict": "cleared",
        "by": "mara",
        "why": "a tunnel on this route",
    }
    return ReviewAlert(**(values | fields))


def a_closing(**fields: Any) -> CloseStatement:
    values: dict[str, Any] = {
        "rider_id": "anna",
        "received_ms": WEEK_ENDS_MS + 1,
        "period": WEEK,
        "currency": "EUR",
        "by": "payroll",
    }
    return CloseStatement(**(values | fields))


def reviewed(**fields: Any) -> Callable[[Rider], bool]:
    return lambda rider: rider.review_alert(a_review(**fields))


def closed(**fields: Any) -> Callable[[Rider], bool]:
    return lambda rider: rider.close_statement(a_closing(**fields))


def test_a_review_is_recorded_with_its_person_and_its_reason() -> None:
    rider = Given().when(reviewed(at_ms=NOW_MS - 5_000, source_service="desk")).rider
    (event,) = rider.collect_events()
    assert isinstance(event, REVIEWED)
    assert event.data() == {
        "rider_id": "anna",
        "event_timestamp_ms": NOW_MS - 5_000,
        "event_id": event.event_id,
        "alert_id": ALERT,
        "verdict": "cleared",
        "by": "mara",
        "why": "a tunnel on this route",
        "received_timestamp_ms": NOW_MS,
        "source_service": "desk",
        "command_id": event.command_id,
        "command_digest": "",
        "caused_by": "",
    }


def test_the_same_review_again_records_nothing() -> None:
    then = Given(reviewed()).when(reviewed(received_ms=NOW_MS + 60_000)).then()
    assert then.answer is False


@pytest.mark.parametrize("other", [{"verdict": "confirmed"}, {"by": "ben"}, {"why": "another reason"}])
def test_another_verdict_person_or_reason_is_a_new_review(other: dict[str, str]) -> None:
    Given(reviewed()).when(reviewed(**other)).then(REVIEWED)


def test_a_verdict_that_was_changed_in_between_is_recorded_again() -> None:
    """Only the latest review of an alert makes a repeat, so that a reviewer can go back to the first verdict."""
    Given(reviewed(), reviewed(verdict="confirmed")).when(reviewed()).then(REVIEWED)


def test_the_same_words_on_another_alert_are_another_review() -> None:
    Given(reviewed()).when(reviewed(alert_id="00000000-0000-5000-8000-000000000001")).then(REVIEWED)


def test_a_key_of_a_recorded_review_is_a_repeat_whatever_was_reviewed_since() -> None:
    first = {"command_id": "key-1"}
    then = Given(reviewed(**first), reviewed(verdict="confirmed")).when(reviewed(**first)).then()
    assert then.answer is False


def test_a_key_of_another_command_is_refused() -> None:
    Given(reviewed(command_id="key-1")).when(reviewed(command_id="key-1", why="other")).then_refused(
        IdempotencyConflict
    )
    Given(reviewed(command_id="key-1")).when(closed(command_id="key-1")).then_refused(IdempotencyConflict)


def test_a_rider_with_a_confirmed_alert_is_assigned_and_paid_as_before() -> None:
    """No consequence is automatic: neither a leg nor a closing nor a ping looks at a verdict."""
    confirmed = reviewed(verdict="confirmed")
    Given(confirmed).when(lambda rider: rider.record_ping(a_ping(), {})).then(Rider.PingRecorded)
    Given(confirmed).when(lambda rider: rider.start_leg(LEG, NOW_MS)).then(Rider.LegStarted)
    Given(confirmed).when(closed()).then(CLOSED)


def test_a_rider_remembers_the_latest_100_reviews_and_keys() -> None:
    def alert(number: int) -> str:
        return f"00000000-0000-5000-8000-{number:012}"

    def many(rider: Rider) -> None:
        for number in range(MAX_KEPT + 1):
            rider.review_alert(a_review(alert_id=alert(number), command_id=f"key-{number}"))

    rider = Given(many).when(lambda rider: None).rider
    assert MAX_KEPT == 100
    assert [len(rider.reviews), len(rider.keys)] == [MAX_KEPT, MAX_KEPT]
    assert Given(many).when(reviewed(alert_id=alert(1))).answer is False
    assert Given(many).when(reviewed(alert_id=alert(0))).answer is True


def test_regression_the_refusal_of_a_forgotten_key_says_how_many_are_known() -> None:
    """The refusal of a repeated old closing said that it is closed, and not that the same command had closed it."""

    def later_reviews(rider: Rider) -> None:
        for number in range(MAX_KEPT):
            alert_id = f"00000000-0000-5000-8000-{number:012}"
            rider.review_alert(a_review(alert_id=alert_id, command_id=f"key-{number}"))

    first = closed(command_id="the first key")
    with pytest.raises(StatementAlreadyClosed, match=r"none of the rider's latest 100, .*it has been recorded"):
        Given(first, later_reviews).when(first).then()
    assert Given(first).when(first).then().answer is False


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"verdict": "guilty"}, InvalidVerdict),
        ({"verdict": ""}, InvalidVerdict),
        ({"by": ""}, InvalidType),
        ({"by": "x" * 129}, InvalidType),
        ({"why": ""}, InvalidType),
        ({"why": "   "}, InvalidType),
        ({"why": "two\nlines"}, InvalidType),
        ({"why": "x" * (MAX_WHY_CODE_POINTS + 1)}, InvalidType),
        ({"alert_id": "no-uuid"}, InvalidType),
        ({"rider_id": "a/b"}, InvalidRiderId),
        ({"at_ms": NOW_MS + 600_000}, TimestampInFuture),
        ({"command_id": ""}, InvalidType),
    ],
)
def test_a_review_with_an_invalid_value_is_refused(wrong: dict[str, Any], error: type[DomainError]) -> None:
    with pytest.raises(error):
        a_review(**wrong).check()
    a_review().check()


def test_a_statement_is_closed_once() -> None:
    then = Given().when(closed()).then(CLOSED)
    assert then.rider.closed_through == {"EUR": WEEK}
    Given(closed()).when(closed()).then_refused(StatementAlreadyClosed)


def test_a_closed_period_closes_all_earlier_ones() -> None:
    Given(closed()).when(closed(period="2026-W37")).then_refused(StatementAlreadyClosed)
    Given(closed()).when(closed(period="2025-W52")).then_refused(StatementAlreadyClosed)
    Given(closed(period="2026-W37")).when(closed()).then(CLOSED)


def test_each_currency_is_closed_for_itself() -> None:
    then = Given(closed()).when(closed(currency="CHF", period="2026-W37")).then(CLOSED)
    assert then.rider.closed_through == {"EUR": WEEK, "CHF": "2026-W37"}


def test_a_period_is_closed_when_it_has_ended_and_not_before() -> None:
    Given().when(closed(received_ms=WEEK_ENDS_MS - 1)).then_refused(StatementPeriodOpen)
    Given().when(closed(received_ms=WEEK_ENDS_MS)).then(CLOSED)
    Given().when(closed(at_ms=WEEK_ENDS_MS - 1)).then_refused(StatementPeriodOpen)


def test_a_clock_that_is_ahead_closes_no_period_early() -> None:
    ahead = closed(received_ms=WEEK_ENDS_MS - 200_000, at_ms=WEEK_ENDS_MS + 1)
    Given().when(ahead).then_refused(StatementPeriodOpen)


def test_a_closing_sent_again_with_its_key_records_nothing() -> None:
    then = Given(closed(command_id="close-38")).when(closed(command_id="close-38")).then()
    assert then.answer is False


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"period": "2026-38"}, InvalidPeriod),
        ({"period": "2026-W54"}, InvalidPeriod),
        ({"period": "2025-W53"}, InvalidPeriod),
        ({"period": "2026-W00"}, InvalidPeriod),
        ({"period": "1999-W10"}, InvalidPeriod),
        ({"period": "٢٠٢٦-W10"}, InvalidPeriod),
        ({"currency": "EURO"}, InvalidCurrency),
        ({"by": " "}, InvalidType),
    ],
)
def test_a_closing_with_an_invalid_value_is_refused(wrong: dict[str, Any], error: type[DomainError]) -> None:
    with pytest.raises(error):
        a_closing(**wrong).check()
    a_closing(period="2026-W53").check()


@given(st.integers(946_684_800_000 + 7 * 86_400_000, 4_070_908_800_000))
def test_every_instant_is_in_its_period(t_ms: int) -> None:
    first, following = period_bounds_ms(period_of(t_ms))
    assert first <= t_ms < following
    assert following - first == 7 * 86_400_000
    assert period_of(following) > period_of(t_ms)


def test_the_digest_of_a_command_names_its_verb_and_its_body_but_not_its_reception() -> None:
    one: RiderCommand = a_review(command_id="key")
    assert one.digest() == replace(one, received_ms=1, command_id="other").digest()
    assert one.digest() != replace(one, at_ms=NOW_MS).digest()
