"""Phones send reproducible uploads, in order of sending, with every fix at least once."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise
from math import inf
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.gps_ping import parse_ping
from infrastructure.simulator.actions import Upload, UploadKind
from infrastructure.simulator.phone import Spells
from infrastructure.simulator.scenario import rider_ids
from infrastructure.simulator.world import SimulatedWorld, all_actions
from tests.unit.simulator.scenarios import START_MS, busy, only_pings, uploads


def test_a_rider_without_orders_does_not_depend_on_the_number_of_riders() -> None:
    def third(riders: int) -> list[Upload]:
        return [upload for upload in uploads(only_pings(riders=riders)) if upload.rider_id == "rider-0003"]

    assert third(3) == third(9)


@settings(max_examples=25)
@given(st.integers(0, 1_000))
def test_uploads_are_in_order_and_contain_every_fix_once_except_repeats(seed: int) -> None:
    sent = uploads(only_pings(str(seed), riders=2))
    assert all(before.send_at_s <= after.send_at_s for before, after in pairwise(sent))
    first = Counter(fix.ping["event_id"] for one in sent if one.kind is not UploadKind.REPEAT for fix in one.fixes)
    assert all(count == 1 for count in first.values())
    assert 200 < len(first) < 600
    repeats = {fix.ping["event_id"] for one in sent if one.kind is UploadKind.REPEAT for fix in one.fixes}
    assert repeats <= set(first)


def test_no_ping_is_sent_before_it_happened_and_each_is_valid() -> None:
    for upload in uploads(busy(1)):
        for fix in upload.fixes:
            assert fix.ping["event_timestamp_ms"] <= START_MS + upload.send_at_s * 1000
            assert parse_ping(fix.ping, START_MS + 3 * 3_600_000).rider_id == upload.rider_id


def test_a_bad_day_has_lost_fixes_late_batches_repeats_and_missing_speeds() -> None:
    sent = uploads(only_pings())
    assert {upload.kind for upload in sent} == set(UploadKind)
    assert any(len(upload.fixes) > 5 for upload in sent if upload.kind is UploadKind.LATE)
    fixes = [fix for upload in sent if upload.kind is not UploadKind.REPEAT for fix in upload.fixes]
    assert len(fixes) < 5 * 300, "some fixes have no position"
    speeds = ["speed_mps" in fix.ping for fix in fixes]
    assert any(speeds)
    assert not all(speeds)


def test_an_endless_day_can_be_read_to_any_length() -> None:
    world = SimulatedWorld(only_pings(duration_s=inf))
    assert len(list(islice(all_actions(world), 200))) == 200


def test_spells_have_the_configured_rate_and_duration() -> None:
    spells = Spells(6.0, (10.0, 60.0), Random(1))
    inside = sum(spells.at(float(second)) for second in range(360_000)) / 360_000
    expected = 35.0 / (600.0 + 35.0)
    assert abs(inside - expected) < 0.01
    assert not Spells(0.0, (1.0, 2.0), Random(1)).at(1e12)


def test_rider_ids() -> None:
    assert rider_ids(2) == ["rider-0001", "rider-0002"]
