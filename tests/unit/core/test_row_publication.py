"""The declaration of published rows, and the bytes of an entry on the topic ``payouts``, which readers rely on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.events.contracts import Codec, current
from projections.analytics import ANALYTICS
from projections.core.projection import RowPublication
from projections.digest.digest import fold_digest
from projections.payouts import PAYOUTS
from projections.speed import SPEED
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds

PUBLICATION = PAYOUTS.row_publication
ROW: dict[str, Any] = {
    "generation": 7,
    "shard": 3,
    "entry_id": "5a1f2f2e-6a55-5d3e-9a51-0c3b0d7e2f10",
    "kind": "payout",
    "payout_id": "5a1f2f2e-6a55-5d3e-9a51-0c3b0d7e2f10",
    "rider_id": "anna",
    "order_id": "order-1",
    "leg": "to_customer",
    "outcome": "completed",
    "currency": "EUR",
    "amount_minor": 275,
    "items": "[]",
    "tariff_version": 1,
    "ended_at": datetime(2026, 11, 30, 12, 0, 0, 123_000, UTC),
    "period": "2026-W49",
    "position": 1_234,
    "seq": 2,
}


def encoded(row: Mapping[str, Any]) -> bytes:
    assert PUBLICATION is not None
    return Codec(LocalSchemaIds()).encode(PUBLICATION.record, PUBLICATION.values(row))


def test_a_record_has_the_columns_of_the_entry_and_no_generation() -> None:
    assert PUBLICATION is not None
    values = PUBLICATION.values(ROW)
    assert set(values) == {field["name"] for field in current("PayoutEntry").schema["fields"]}
    assert values["ended_at_ms"] == 1_796_040_000_123
    assert encoded(ROW) == encoded(ROW | {"generation": 8})
    assert Codec(LocalSchemaIds()).decode(encoded(ROW)) == values


def test_the_body_of_a_record_stays_as_it_was_released() -> None:
    payout_id = ROW["payout_id"].encode().hex()
    assert encoded(ROW)[5:].hex() == (
        f"48{payout_id}" "0c7061796f7574" f"48{payout_id}" "08616e6e61" "0e6f726465722d31" "16746f5f637573746f6d6572"
        "12636f6d706c65746564" "06455552" "a604" "045b5d" "02" "f6899cc5c568" "10323032362d573439" "a413" "04"
    )  # fmt: skip


def test_what_is_published_is_part_of_the_digest() -> None:
    assert PUBLICATION is not None
    other = replace(PUBLICATION, record="RiderLocation")
    published = [PUBLICATION, other, None]
    assert len({fold_digest(replace(PAYOUTS, row_publication=each)) for each in published}) == 3


@pytest.mark.parametrize("projection", [SPEED, ANALYTICS], ids=lambda projection: str(projection.name))
def test_only_rows_of_its_own_tables_can_be_published(projection: Any) -> None:
    assert PUBLICATION is not None
    foreign = RowPublication("topic", "PayoutEntry", PUBLICATION.table, PUBLICATION.values)
    with pytest.raises(ValueError, match="only rows of its own tables"):
        replace(projection, row_publication=foreign)
