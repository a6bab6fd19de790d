"""Given a rider's legs and pings, then these payouts and adjustments are made, and each cent names its events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import pytest

from domain.features.payouts.entries import PayoutEntry
from domain.features.payouts.legs import MAX_ENDED_LEGS
from domain.features.payouts.track import BUCKET_MS, KEPT_BUCKETS, fixes_of
from read_models.payouts.state import UnreadablePayoutState, decode, encode
from tests.support.worlds.payout_events import (
    LATITUDE,
    NOON_MS,
    Event,
    direct,
    ended,
    folded,
    items_of,
    paid,
    payout_id,
    ping,
    ride,
    started,
    statement_closed,
)

KM_EUR = 55  # cents a kilometre
BASE = 240  # cents to the customer


def amounts(events: list[Event]) -> list[tuple[str, int]]:
    return [(entry.kind, entry.amount_minor) for entry in folded(events)[1]]


def test_a_completed_leg_is_paid_once_with_its_base_and_its_metres() -> None:
    delivery = [started("o1", 0), *ride(0, 400), ended("o1", 400.001)]
    _, (entry,) = folded(delivery)
    assert (entry.kind, entry.entry_id, entry.payout_id) == ("payout", payout_id("o1"), payout_id("o1"))
    assert (entry.order_id, entry.leg, entry.outcome, entry.currency) == ("o1", "to_customer", "completed", "EUR")
    assert entry.amount_minor == BASE + 2 * KM_EUR
    assert (entry.period, entry.tariff_version, entry.seq) == ("2026-W49", 1, 1)


def test_every_item_names_its_quantity_its_rate_and_its_events() -> None:
    pings = ride(0, 400)
    begin, end = started("o1", 0), ended("o1", 400.001)
    _, (entry,) = folded([begin, *pings, end])
    found = items_of(entry)
    assert list(found) == ["base", "metres", "waiting"]
    assert found["base"]["events"] == {"count": 2, "first": begin[1]["event_id"], "last": end[1]["event_id"]}
    assert found["metres"]["quantity"] == pytest.approx(2_000_000, abs=500)
    assert found["metres"]["rate"] == "0.55/km"
    assert found["metres"]["events"] == {
        "count": 41,
        "first": pings[0][1]["event_id"],
        "last": pings[-1][1]["event_id"],
    }
    assert sum(item["amount_minor"] for item in found.values()) == entry.amount_minor
    assert entry.items == json.dumps(json.loads(entry.items), sort_keys=True, separators=(",", ":"))


def test_metres_of_stacked_legs_are_split_equally_and_the_remainder_is_the_earliest_legs() -> None:
    single = [started("o1", 0), *ride(0, 400), ended("o1", 401)]
    stacked = [started("o0", -1), *single[:-1], started("o2", 200.5), ended("o0", 401), ended("o2", 401), single[-1]]
    whole = items_of(folded(single)[1][0])["metres"]["quantity"]
    shares = {entry.order_id: items_of(entry)["metres"]["quantity"] for entry in folded(stacked)[1]}
    assert sum(shares.values()) == whole
    assert shares["o1"] < shares["o0"] <= shares["o1"] + 41
    assert shares["o2"] == pytest.approx(200 * 5_000 / 3, abs=500)


def test_waiting_at_the_target_is_paid_beyond_five_minutes() -> None:
    here: dict[str, Any] = {"leg": "to_restaurant", "target_latitude": LATITUDE}
    waits = [ping(t) for t in range(0, 601, 30)]
    _, (entry,) = folded([started("o1", 0, **here), *waits, ended("o1", 601, "to_restaurant")])
    assert items_of(entry)["waiting"]["quantity"] == 300_000
    assert items_of(entry)["waiting"]["waited_ms"] == 600_000
    assert entry.amount_minor == 120 + 5 * 18


def test_a_moment_of_waiting_counts_once_however_many_legs_wait() -> None:
    here: dict[str, Any] = {"leg": "to_restaurant", "target_latitude": LATITUDE}
    waits = [ping(t) for t in range(0, 601, 30)]
    begin = [started("o1", 0, **here), started("o2", 0, **here)]
    end = [ended("o1", 601, "to_restaurant"), ended("o2", 601, "to_restaurant")]
    _, entries = folded([*begin, *waits, *end])
    assert [items_of(entry)["waiting"]["waited_ms"] for entry in entries] == [600_000, 0]


def test_the_night_factor_is_that_of_the_city() -> None:
    zone = {"time_zone": "Asia/Tokyo"}  # noon UTC is 21:00 there
    assert amounts([started("o1", 0, **zone), ended("o1", 3_599)]) == [("payout", BASE)]
    assert amounts([started("o1", 0, **zone), ended("o1", 3_600)]) == [("payout", BASE * 5 // 4)]
    assert amounts([started("o1", 0, time_zone=""), ended("o1", 43_200)]) == [("payout", BASE)]


@pytest.mark.parametrize(
    ("first_paid_by_day", "time_zone"),
    [
        # Summer time begins: the night before ends at 06:00 of +1 h, that night an hour earlier, at 06:00 of +2 h.
        ("2026-03-28T05:00:00", "Europe/Berlin"),
        ("2026-03-29T04:00:00", "Europe/Berlin"),
        # Summer time ends.
        ("2026-10-24T04:00:00", "Europe/Berlin"),
        ("2026-10-25T05:00:00", "Europe/Berlin"),
        ("2026-10-25T00:30:00", "Asia/Kolkata"),
    ],
)
def test_the_night_ends_by_the_clock_of_the_city_also_when_the_clock_changes(
    first_paid_by_day: str, time_zone: str
) -> None:
    day_ms = round(datetime.fromisoformat(first_paid_by_day).replace(tzinfo=UTC).timestamp() * 1_000)
    day_s = (day_ms - NOON_MS) / 1_000
    begin = started("o1", day_s - 3_000, time_zone=time_zone)
    assert amounts([begin, ended("o1", day_s - 0.001)]) == [("payout", BASE * 5 // 4)]
    assert amounts([begin, ended("o1", day_s)]) == [("payout", BASE)]


def test_a_confirmed_alert_changes_no_pay() -> None:
    delivery = [started("o1", 0), ping(0), ping(40, 200), ended("o1", 100), ping(20, 300)]
    reviewed = ("AlertReviewed", {"event_id": str(UUID(int=1)), "alert_id": str(UUID(int=2)), "verdict": "confirmed"})
    with_reviews = [event for each in delivery for event in (reviewed, each)]

    def without_place(events: list[Event]) -> list[PayoutEntry]:
        return [entry._replace(position=0) for entry in folded(events)[1]]

    assert without_place(with_reviews) == without_place(delivery)


def test_a_leg_that_ended_otherwise_makes_no_entry_by_a_tariff_of_0() -> None:
    taken_off = [started("o1", 0), *ride(0, 100), ended("o1", 101, outcome="unassigned")]
    assert amounts(taken_off) == []
    # Assigned again: one payout, for the leg that was completed.
    again = [started("o1", 120), *ride(120, 240, from_m=500), ended("o1", 241)]
    assert amounts([*taken_off, *again]) == [("payout", BASE + round(0.6 * KM_EUR))]


def test_a_completed_leg_without_rates_is_an_entry_of_0_that_says_so() -> None:
    _, (entry,) = folded([started("o1", 0, currency="ISK"), *ride(0, 100), ended("o1", 101)])
    assert (entry.amount_minor, entry.currency, list(items_of(entry))) == (0, "ISK", ["no_rates"])


def test_a_late_ping_makes_one_adjustment_of_the_difference() -> None:
    # Without the ping at 20 s the rider's detour to the north is unknown.
    late = ping(20, 300)
    delivery = [started("o1", 0), ping(0), ping(40, 200), ended("o1", 100)]
    _, (first, adjustment) = folded([*delivery, ping(110, 200), late])
    assert first.amount_minor == BASE + round(0.2 * KM_EUR)
    assert adjustment.kind == "adjustment"
    assert adjustment.entry_id == str(uuid5(UUID(payout_id("o1")), late[1]["event_id"]))
    assert (adjustment.payout_id, adjustment.seq) == (payout_id("o1"), 2)
    assert first.amount_minor + adjustment.amount_minor == BASE + round(0.4 * KM_EUR)
    found = items_of(adjustment)
    assert list(found) == ["metres"]
    assert found["metres"]["events"] == {"count": 1, "first": late[1]["event_id"], "last": late[1]["event_id"]}
    assert found["metres"]["quantity_before"] == pytest.approx(200_000, abs=100)


def test_a_late_ping_that_takes_metres_away_makes_a_negative_adjustment() -> None:
    # A fix that is 10 km off: neither step to or from it is a ride.
    delivery = [started("o1", 0), ping(0), ping(40, 200), ended("o1", 100)]
    assert amounts([*delivery, ping(20, 10_000)])[-1] == ("adjustment", -round(0.2 * KM_EUR))


def test_a_late_ping_that_changes_no_cent_makes_no_adjustment_and_is_named_by_the_next_one() -> None:
    delivery = [started("o1", 0), ping(0), ping(40, 100), ping(80, 200), ended("o1", 100)]
    small, large = ping(20, 50.5, number="small"), ping(60, 300, number="large")
    _, entries = folded([*delivery, small, large])
    assert [entry.kind for entry in entries] == ["payout", "adjustment"]
    events = items_of(entries[1])["metres"]["events"]
    assert events in (
        {"count": 2, "first": small[1]["event_id"], "last": large[1]["event_id"]},
        {"count": 1, "first": large[1]["event_id"], "last": large[1]["event_id"]},
    )


def test_a_ping_after_the_end_of_the_leg_changes_nothing() -> None:
    delivery = [started("o1", 0), *ride(0, 100), ended("o1", 101)]
    assert amounts([*delivery, *ride(110, 300, from_m=550)]) == amounts(delivery)


def test_two_pings_with_one_event_id_make_two_adjustments() -> None:
    delivery = [started("o1", 0), ping(0), ping(40, 100), ping(80, 200), ended("o1", 100)]
    twins = [ping(20, 500, number="twin"), ping(60, 600, number="twin")]
    _, entries = folded([*delivery, *twins])
    assert len({entry.entry_id for entry in entries}) == 3
    assert sum(paid(entries).values()) == direct([*delivery, *twins])["o1", "to_customer"]


def test_a_ping_older_than_is_kept_is_counted_and_not_used() -> None:
    delivery = [started("o1", 0), ping(0), ping(40, 100), ended("o1", 100)]
    state, entries = folded([*delivery, ping(KEPT_BUCKETS * BUCKET_MS / 1_000, 100), ping(20, 300)])
    assert (state.too_late, [entry.kind for entry in entries]) == (1, ["payout"])
    state, entries = folded([*delivery, ping(KEPT_BUCKETS * BUCKET_MS / 1_000 - 0.001, 100), ping(20, 300)])
    assert (state.too_late, [entry.kind for entry in entries]) == (0, ["payout", "adjustment"])


def test_a_second_end_of_a_paid_leg_pays_nothing() -> None:
    delivery = [started("o1", 0), *ride(0, 100), ended("o1", 101)]
    state, entries = folded([*delivery, ended("o1", 102)])
    assert (state.unknown_ends, len(entries)) == (1, 1)
    state, entries = folded([*delivery, started("o1", 103), *ride(110, 200), ended("o1", 201)])
    assert (state.unknown_ends, len(entries)) == (1, 1)


def test_a_completed_leg_whose_start_is_not_known_is_an_entry_of_0_that_says_so() -> None:
    state, (entry,) = folded([*ride(0, 100), ended("o1", 101)])
    assert (entry.entry_id, entry.amount_minor, entry.currency) == (payout_id("o1"), 0, "")
    assert list(items_of(entry)) == ["start_unknown"]
    assert state.unknown_ends == 1


def test_an_end_that_was_recorded_late_gives_back_the_metres_of_the_other_leg() -> None:
    # o2 ended at 100 s, but its rider's phone reported it after o1 was paid.
    before = [started("o1", 0), started("o2", 0), *ride(0, 200)]
    in_order = [*before[:13], ended("o2", 100.5), *before[13:], ended("o1", 201)]
    late = [*before, ended("o1", 201), ended("o2", 100.5)]
    assert paid(folded(late)[1]) == paid(folded(in_order)[1])
    assert [entry.kind for entry in folded(late)[1]] == ["payout", "adjustment", "payout"]


def test_an_entry_after_the_close_goes_to_the_next_open_week_of_its_currency() -> None:
    delivery = [started("o1", 0), ping(0), ping(40, 100), ended("o1", 100)]
    late = ping(20, 300)
    assert [e.period for e in folded([*delivery, statement_closed("2026-W49"), late])[1]] == ["2026-W49", "2026-W50"]
    assert [e.period for e in folded([*delivery, statement_closed("2026-W48"), late])[1]] == ["2026-W49", "2026-W49"]
    other = statement_closed("2026-W49", "USD")
    assert [e.period for e in folded([*delivery, other, late])[1]] == ["2026-W49", "2026-W49"]


def test_a_later_closing_of_an_earlier_week_opens_nothing_again() -> None:
    # A rider whose first closing cannot be read may get a second one, of that week or of an earlier one.
    delivery = [started("o1", 0), ping(0), ping(40, 100), ended("o1", 100)]
    closings = [statement_closed("2026-W49"), statement_closed("2026-W47")]
    assert [e.period for e in folded([*delivery, *closings, ping(20, 300)])[1]] == ["2026-W49", "2026-W50"]


def test_a_statement_may_be_negative_and_the_earlier_one_stays_as_it_was_closed() -> None:
    delivery = [started("o1", 0), ping(0), ping(40, 200), ended("o1", 100)]
    _, entries = folded([*delivery, statement_closed("2026-W49"), ping(20, 10_000)])
    assert [(e.period, e.amount_minor) for e in entries] == [
        ("2026-W49", BASE + round(0.2 * KM_EUR)),
        ("2026-W50", -round(0.2 * KM_EUR)),
    ]


def test_the_week_of_a_leg_is_that_of_its_end_in_utc() -> None:
    sunday = NOON_MS - 12 * 3_600_000
    begin = started("o1", (sunday - NOON_MS) / 1_000 - 100)
    _, (entry,) = folded([begin, ended("o1", (sunday - NOON_MS) / 1_000 - 0.001)])
    assert entry.period == "2026-W48"
    _, (entry,) = folded([begin, ended("o1", (sunday - NOON_MS) / 1_000)])
    assert entry.period == "2026-W49"


def test_the_state_is_bounded() -> None:
    events: list[Event] = [*ride(0, 100)]
    for n in range(60):
        events += [started(f"o{n}", 100.5), ended(f"o{n}", 101)]
    state, entries = folded(events)
    assert (len(state.held.legs), len(entries), state.not_kept) == (MAX_ENDED_LEGS, 60, 60 - MAX_ENDED_LEGS)
    state, _ = folded([*events, *ride(110, 6_000)])
    assert (state.held.legs, len(fixes_of(state.track))) == ((), 3 * 30 + 2)
    assert len(encode(state)) < 5_000


def test_bytes_of_another_tariff_are_not_read() -> None:
    data = bytearray(encode(folded(ride(0, 100))[0]))
    data[1] ^= 1
    with pytest.raises(UnreadablePayoutState):
        decode(bytes(data))


@pytest.mark.parametrize("length", [0, 10, 64, 70, -1])
def test_damaged_bytes_are_not_read(length: int) -> None:
    state, _ = folded([statement_closed("2026-W48"), started("o1", 0), *ride(0, 100), ended("o1", 101)])
    with pytest.raises(UnreadablePayoutState):
        decode(encode(state)[:length])
    with pytest.raises(UnreadablePayoutState):
        decode(encode(state) + b"\0")
