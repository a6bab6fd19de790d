"""Findings of a restored log: they stay until an operator has seen them."""

from __future__ import annotations

from sqlalchemy import Engine

from infrastructure.postgres.restore_findings import RestoreFinding, accept_findings, read_findings, record_finding


def found(engine: Engine) -> list[RestoreFinding]:
    with engine.connect() as connection:
        return read_findings(connection)


def test_regression_what_is_found_after_an_operator_has_looked_is_not_accepted(engine: Engine) -> None:
    """`restored --accept` deleted every finding, also one of a second restore that came while it checked the shards."""
    for name in ("locations@1", "speed@1"):
        record_finding(engine, RestoreFinding(name, "the log was restored", 140, 90))
    seen = found(engine)
    record_finding(engine, RestoreFinding("speed@1", "the log was restored", 200, 95))
    record_finding(engine, RestoreFinding("topic gps-pings", "the log was restored", 200, 95))
    accept_findings(engine, seen)
    assert [(one.found_by, one.beyond) for one in found(engine)] == [("speed@1", 200), ("topic gps-pings", 200)]
    accept_findings(engine, found(engine))
    assert found(engine) == []
    accept_findings(engine, [])
