"""The SQL of hand-overs to the payment provider."""

from __future__ import annotations

from typing import Final

from sqlalchemy import TextClause, text

ENTRY: Final = (
    "entry_id, payout_id, kind, rider_id, order_id, leg, currency, amount_minor, period, ended_at, position, seq"
)
_WAITING = "state IN ('open', 'held')"
# What was handed over is not what the active generation says, and no person has settled the difference.
_DIFFERS = "{0}latest_amount_minor <> coalesce({0}settled_amount_minor, {0}amount_minor)"
_ACTIVE = "(SELECT generation FROM projection_generations WHERE projection = 'payouts' AND active)"
# An entry that was handed over keeps its amount. One that no provider has seen takes the amount of the generation.
_UPSERT = (
    "ON CONFLICT (entry_id) DO UPDATE SET latest_amount_minor = excluded.latest_amount_minor,"
    " amount_minor = CASE WHEN payment_handovers.attempts = 0 THEN excluded.amount_minor"
    "  ELSE payment_handovers.amount_minor END"
    " WHERE payment_handovers.latest_amount_minor <> excluded.latest_amount_minor"
)

# An entry of a leg that ended before payments began was paid elsewhere, or never is. Null: there is no such instant.
_SINCE = "(CAST(:since AS timestamptz) IS NULL OR ended_at >= CAST(:since AS timestamptz))"
# Neither the entry nor the payout that it adjusts was ever noted, although its leg ended long ago.
_OF_LONG_AGO = (
    "e.ended_at < clock_timestamp() - make_interval(days => :days)"
    " AND NOT EXISTS (SELECT FROM payment_handovers h WHERE h.entry_id = e.payout_id)"
)
# And its event was recorded before all that was ever noted: an import writes to an empty log, so its events are the
# first ones. What is recorded later is of a person that reports a leg late, or was not handed over for long.
_OF_A_HISTORY = (
    f"{_OF_LONG_AGO}"  # noqa: S608
    " AND e.position < coalesce((SELECT min(position) FROM payment_handovers), 9223372036854775807)"
)
HISTORY = text(
    "SELECT count(*) AS entries, max(e.ended_at) AS latest FROM payout_entries e"  # noqa: S608
    f" WHERE e.generation = :generation AND {_OF_A_HISTORY}"
)
HISTORY_NEXT = text(
    "SELECT count(*) AS entries, max(e.ended_at) AS latest FROM (SELECT ended_at, payout_id, position"  # noqa: S608
    "  FROM payout_entries WHERE generation = :generation AND shard = :shard AND position > :after"
    f"  ORDER BY position LIMIT :limit) e WHERE {_OF_A_HISTORY}"
)
# An entry of long ago waits for a person, who knows whether it was paid elsewhere, unless the instant above decides.
_NOTED = (
    f"SELECT {ENTRY}, amount_minor, CASE WHEN found.late THEN 'held' ELSE 'open' END,"  # noqa: S608
    "  CASE WHEN found.late THEN :late_reason END"
    " FROM payout_entries e CROSS JOIN LATERAL"
    f" (SELECT CAST(:since AS timestamptz) IS NULL AND {_OF_LONG_AGO} AS late) found"
)
_INSERT = f"INSERT INTO payment_handovers ({ENTRY}, latest_amount_minor, state, reason)"
# All entries of a position or none: the cursor is a position.
NOTE = text(f"""
WITH last AS (SELECT max(position) AS position FROM (
        SELECT position FROM payout_entries
        WHERE generation = :generation AND shard = :shard AND position > :after ORDER BY position LIMIT :limit) first),
    noted AS ({_INSERT} {_NOTED}
        WHERE generation = :generation AND shard = :shard AND position > :after
          AND position <= (SELECT position FROM last) AND {_SINCE} {_UPSERT})
SELECT position FROM last
""")  # noqa: S608 - the names of columns above
MISSED = text(f"""
{_INSERT} {_NOTED} WHERE generation = :generation AND {_SINCE}
  AND NOT EXISTS (SELECT FROM payment_handovers h
                  WHERE h.entry_id = e.entry_id AND h.latest_amount_minor = e.amount_minor) {_UPSERT}
""")
# The shards with entries after their cursor: one look-up each in an index, and mostly there are none. LIMIT keeps the
# planner from reading the whole generation, whose size it does not know just after a rebuild.
NEWS = text(
    "SELECT s.number AS shard, coalesce(c.position, 0) AS position FROM generate_series(0, :shards - 1) s (number)"
    " LEFT JOIN payment_cursors c ON c.generation = :generation AND c.shard = s.number"
    " CROSS JOIN LATERAL (SELECT FROM payout_entries e WHERE e.generation = :generation AND e.shard = s.number"
    "  AND e.position > coalesce(c.position, 0) ORDER BY e.position LIMIT 1) news ORDER BY 1"
)
OTHER_CURSORS = text("DELETE FROM payment_cursors WHERE generation <> :generation")
MOVE_CURSOR = text(
    "INSERT INTO payment_cursors (generation, shard, position) VALUES (:generation, :shard, :position)"
    " ON CONFLICT (generation, shard) DO UPDATE SET position = excluded.position"
)
# What a provider has and the generation does not: the amount is 0 now. Whether the generation is past its position is
# checked by shard.
NOT_SERVED = text(
    "SELECT entry_id, rider_id, position FROM payment_handovers h"
    " WHERE state = 'done' AND latest_amount_minor <> 0 AND NOT EXISTS (SELECT FROM payout_entries e"
    "  WHERE e.generation = :generation AND e.entry_id = h.entry_id) LIMIT :limit"
)
FENCES = text(
    "SELECT DISTINCT ON (shard) shard, position FROM projection_fences"
    " WHERE projection = 'payouts' AND generation = :generation ORDER BY shard, number DESC"
)
WITHDRAW = text("UPDATE payment_handovers SET latest_amount_minor = 0 WHERE entry_id = ANY(CAST(:entry_ids AS text[]))")
# The adjustment was computed from amounts that the provider does not have. Once: a person may release it.
HOLD_ADJUSTMENTS = text(
    "UPDATE payment_handovers a SET state = 'held', reason = :reason FROM payment_handovers p"  # noqa: S608
    " WHERE a.state = 'open' AND a.kind = 'adjustment' AND a.attempts = 0 AND a.reason IS DISTINCT FROM :reason"
    f" AND p.payout_id = a.payout_id AND {_DIFFERS.format('p.')}"
)
# Only the first waiting entry of a rider counts: the order of a rider's payments is kept. The longest due goes first:
# no rider is passed over while others have many.
DUE = text(
    "SELECT rider_id FROM (SELECT DISTINCT ON (rider_id) rider_id, state, next_attempt_at, ended_at"  # noqa: S608
    f"  FROM payment_handovers WHERE {_WAITING} ORDER BY rider_id, position, seq) heads"
    " WHERE state = 'open' AND coalesce(next_attempt_at, '-infinity') <= clock_timestamp()"
    " ORDER BY coalesce(next_attempt_at, ended_at) LIMIT :limit"
)
NEXT = text(
    f"SELECT {ENTRY}, state, attempts FROM payment_handovers"  # noqa: S608
    f" WHERE {_WAITING} AND rider_id = :rider_id ORDER BY position, seq LIMIT 1"
)
# The first waiting entry of the rider, so that no entry goes before another. Its first attempt needs the entry as the
# generation has it that is active at this instant: after a switch, what was noted of the previous one may be withdrawn,
# or have another amount.
# It is locked first, so that the attempt before may be one that another process has just begun.
BEGIN = text(
    "WITH first AS MATERIALIZED (SELECT entry_id AS first_id, latest_attempt_at AS attempt_before"  # noqa: S608
    f"  FROM payment_handovers WHERE {_WAITING} AND rider_id = :rider_id ORDER BY position, seq LIMIT 1 FOR UPDATE)"
    " UPDATE payment_handovers h SET attempts = attempts + 1,"
    "  first_attempt_at = coalesce(first_attempt_at, clock_timestamp()), latest_attempt_at = clock_timestamp()"
    " FROM first WHERE entry_id = first_id AND state = 'open' AND (attempts > 0 OR EXISTS (SELECT FROM payout_entries e"
    f"  WHERE e.generation = {_ACTIVE} AND e.entry_id = h.entry_id AND e.amount_minor = h.amount_minor))"
    f" RETURNING {ENTRY}, state, attempts,"
    " CAST(extract(epoch FROM clock_timestamp() - attempt_before) AS double precision)"
)
# Withdrawn: the active generation has folded the place of the entry, and does not have it.
SET_ASIDE = text(
    "UPDATE payment_handovers h SET"  # noqa: S608
    "  state = CASE WHEN found.withdrawn THEN 'held' ELSE h.state END,"
    "  reason = CASE WHEN found.withdrawn THEN :reason ELSE h.reason END,"
    "  next_attempt_at = CASE WHEN NOT found.withdrawn THEN clock_timestamp() + make_interval(secs => :wait_s) END"
    " FROM (SELECT coalesce((SELECT f.position FROM projection_fences f WHERE f.projection = 'payouts'"
    f"   AND f.generation = {_ACTIVE} AND f.shard = :shard ORDER BY f.number DESC LIMIT 1) >= w.position, false)"
    f"  AND NOT EXISTS (SELECT FROM payout_entries e WHERE e.generation = {_ACTIVE} AND e.entry_id = w.entry_id)"
    "  AS withdrawn FROM payment_handovers w WHERE w.entry_id = :entry_id) found"
    " WHERE h.entry_id = :entry_id AND h.state = 'open' AND h.attempts = 0"
)
RECORD = text(
    "UPDATE payment_handovers SET state = :state, status = :status, answer_digest = :digest, reason = :reason,"
    "  next_attempt_at = CASE WHEN :state = 'open' THEN clock_timestamp() + make_interval(secs => :wait_s) END"
    " WHERE entry_id = :entry_id AND state NOT IN ('done', 'skipped')"
)
TALLY = text(
    "SELECT count(*) FILTER (WHERE state = 'open') AS open, count(*) FILTER (WHERE state = 'held') AS held,"  # noqa: S608
    " count(*) FILTER (WHERE state = 'open' AND attempts > 0) AS retried,"
    " extract(epoch FROM clock_timestamp() - min(first_attempt_at) FILTER (WHERE state = 'open')) AS oldest_s,"
    f" (SELECT count(*) FROM payment_handovers WHERE {_DIFFERS.format('')}) AS differing"
    f" FROM payment_handovers WHERE {_WAITING}"
)
LIST = text(
    f"SELECT {ENTRY}, state, attempts, status, reason, latest_attempt_at, latest_amount_minor"  # noqa: S608
    f" FROM payment_handovers WHERE state = 'held' OR ({_DIFFERS.format('')})"
    " ORDER BY rider_id, position, seq LIMIT :limit"
)
# What a person decides on, and the amount that it is about. A decision names the amount that the person has seen: what
# another person or the process ``payments`` has changed since then is not decided.
_HELD = "h.state = 'held'"
_OF_SETTLED = "h.latest_amount_minor - coalesce(h.settled_amount_minor, h.amount_minor)"


def _found(where: str, amount: str) -> TextClause:
    return text(
        f"SELECT h.entry_id, h.rider_id, h.currency, {amount} AS amount_minor FROM payment_handovers h"  # noqa: S608
        f" WHERE {where} AND (CAST(:entry_ids AS text[]) IS NULL OR h.entry_id = ANY(CAST(:entry_ids AS text[])))"
        " ORDER BY h.rider_id, h.position, h.seq"
    )


def _decided(change: str, where: str, amount: str) -> TextClause:
    return text(
        f"UPDATE payment_handovers h SET {change}"  # noqa: S608
        " FROM unnest(CAST(:entry_ids AS text[]), CAST(:amounts AS bigint[])) AS seen (entry_id, amount_minor)"
        f" WHERE h.entry_id = seen.entry_id AND {where} AND {amount} = seen.amount_minor RETURNING h.entry_id"
    )


FIND_HELD = _found(_HELD, "h.amount_minor")
FIND_DIFFERING = _found(_DIFFERS.format("h."), _OF_SETTLED)
RELEASE = _decided("state = 'open', next_attempt_at = NULL", _HELD, "h.amount_minor")
SKIP = _decided("state = 'skipped', reason = :reason", _HELD, "h.amount_minor")
SETTLE = _decided("settled_amount_minor = latest_amount_minor, reason = :reason", _DIFFERS.format("h."), _OF_SETTLED)
