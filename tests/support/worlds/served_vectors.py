"""Compares the rows of a training set with the bodies of the answers that were served, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import Engine, text

from domain.features.eta.features import EtaFeatures

_VECTOR = tuple(name for name in EtaFeatures._fields if name != "because")


BATCH_ROWS = 5_000


def check_served_rows(rows: Iterable[Mapping[str, Any]], engine: Engine) -> int:
    """Each row has the bytes of the vector and of the quantiles that its answer had. Returns their number."""
    count, rest = 0, iter(rows)
    while batch := list(islice(rest, BATCH_ROWS)):
        served = _bodies(engine, [row["served_eta_id"] for row in batch])
        for row in batch:
            _check(row, served[row["served_eta_id"]])
        count += len(batch)
    return count


def _bodies(engine: Engine, ids: list[int]) -> dict[int, bytes]:
    with engine.connect() as connection:
        found = connection.execute(text("SELECT id, body FROM served_etas WHERE id = ANY(:ids)"), {"ids": ids})
        return {row.id: bytes(row.body) for row in found}


def _check(row: Mapping[str, Any], body: bytes) -> None:
    vector = msgspec.json.encode({name: row[name] for name in _VECTOR})
    assert b'"features":' + vector + b"," in body, (vector, body)
    answer = msgspec.json.decode(body)
    assert (row["served_p50_s"], row["served_p90_s"]) == (answer["p50_seconds"], answer["p90_seconds"])
    assert (row["order_id"], row["at_ms"]) == (answer["order_id"], answer["at_ms"])
    places = answer["positions"]
    assert (row["position"], row["city_snapshot"]) == (places["order"], places["city_snapshot"])
    assert row["model_digest"] == answer["model"]["digest"]
    assert [one for one in answer["because"] if one != "outside_training"] == row["because"]
