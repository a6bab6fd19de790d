"""Phones send reproducible uploads, in order of sending, with every fix at least once."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from domain.gps_ping import parse_ping
from infrastructure.simulator.fleet import fleet_uploads, rider_ids
from infrastructure.simulator.phone import Day, PhoneModel, Spells, Upload, UploadKind, fixes_of, uploads

START_MS = 1_700_000_000_000
BAD_DAY = PhoneModel(every_s=2.0, no_fix_per_hour=60.0, offline_per_hour=60.0, repeat_share=0.2)


def day(seed: str = "1", duration_s: float = 600.0, phone: PhoneModel = BAD_DAY) -> Day:
    return Day(seed, START_MS, duration_s, phone=phone)


def test_the_seed_determines_everything_and_another_seed_gives_another_day() -> None:
    assert list(fleet_uploads(5, day())) == list(fleet_uploads(5, day()))
    assert list(fleet_uploads(5, day())) != list(fleet_uploads(5, day("2")))


def test_a_rider_does_not_depend_on_the_number_of_riders() -> None:
    def third(riders: int) -> list[Upload]:
        return [upload for upload in fleet_uploads(riders, day()) if upload.rider_id == "rider-0003"]

    assert third(3) == third(9)


@given(st.integers(0, 1_000))
def test_uploads_are_in_order_and_contain_every_fix_once_except_repeats(seed: int) -> None:
    sent = list(uploads("rider-0001", day(str(seed))))
    assert all(before.send_at_s <= after.send_at_s for before, after in pairwise(sent))
    first = Counter(fix.ping["event_id"] for one in sent if one.kind is not UploadKind.REPEAT for fix in one.fixes)
    made = [fix for _, fix in fixes_of("rider-0001", day(str(seed))) if fix is not None]
    assert first == Counter(fix.ping["event_id"] for fix in made)
    assert all(count == 1 for count in first.values())
    repeats = {fix.ping["event_id"] for one in sent if one.kind is UploadKind.REPEAT for fix in one.fixes}
    assert repeats <= set(first)


def test_no_ping_is_sent_before_it_happened_and_each_is_valid() -> None:
    for upload in fleet_uploads(5, day()):
        for fix in upload.fixes:
            assert fix.ping["event_timestamp_ms"] <= START_MS + upload.send_at_s * 1000
            assert parse_ping(fix.ping, START_MS + 3_600_000).rider_id == upload.rider_id


def test_a_bad_day_has_lost_fixes_late_batches_repeats_and_missing_speeds() -> None:
    sent = list(fleet_uploads(5, day()))
    assert {upload.kind for upload in sent} == set(UploadKind)
    assert any(len(upload.fixes) > 5 for upload in sent if upload.kind is UploadKind.LATE)
    assert any(fix is None for _, fix in fixes_of("rider-0001", day()))
    speeds = ["speed_mps" in fix.ping for upload in sent for fix in upload.fixes]
    assert any(speeds)
    assert not all(speeds)


def test_an_endless_day_can_be_read_to_any_length() -> None:
    endless = list(islice(fleet_uploads(3, day(duration_s=inf)), 200))
    assert len(endless) == 200


def test_spells_have_the_configured_rate_and_duration() -> None:
    from random import Random

    spells = Spells(6.0, (10.0, 60.0), Random(1))
    inside = sum(spells.at(float(second)) for second in range(360_000)) / 360_000
    expected = 35.0 / (600.0 + 35.0)
    assert abs(inside - expected) < 0.01
    assert not Spells(0.0, (1.0, 2.0), Random(1)).at(1e12)


def test_rider_ids() -> None:
    assert rider_ids(2) == ["rider-0001", "rider-0002"]
