"""The traps of clocks: what was known, what had happened, and what expired, at an instant."""

from __future__ import annotations

from benchmarks.leakage.history import TTL_MS, Ask, Axis, Event, Kind, S, Trap

KNOWN, EVENT, POSITION = Axis.KNOWN, Axis.EVENT, Axis.POSITION

BACKFILL = Trap(
    "backfill after the instant",
    Kind.MEASUREMENT,
    "A phone without a network delivers its values minutes later.",
    (
        Event("anna", 0, 0, 1.0, "a1"),
        Event("anna", 50 * S, 500 * S, 2.0, "a2"),
        Event("ben", 40 * S, 500 * S, 7.0, "b1"),
    ),
    (
        Ask(KNOWN, "anna", 100 * S, 1.0, "the second value came at 500 s", leaks=(2.0,)),
        Ask(KNOWN, "anna", 600 * S, 2.0, "by then it had come"),
        Ask(KNOWN, "ben", 100 * S, None, "nothing of ben was known", leaks=(7.0,)),
        Ask(POSITION, "anna", 100 * S, 1.0, "the answer had applied one event", leaks=(2.0,), after=1),
        Ask(POSITION, "anna", 600 * S, 2.0, "the answer had applied both", after=2),
        Ask(POSITION, "ben", 100 * S, None, "the answer had applied no event of ben", leaks=(7.0,), after=1),
        Ask(EVENT, "anna", 100 * S, 2.0, "it had happened at 50 s"),
        Ask(EVENT, "ben", 100 * S, 7.0, "it had happened at 40 s"),
        Ask(EVENT, "anna", 49 * S, 1.0, "it had not happened yet", leaks=(2.0,)),
    ),
)

REVISION = Trap(
    "late revision",
    Kind.FACT,
    "A value is revised minutes later, for the same event time.",
    (
        Event("order-1", 50 * S, 50 * S, 1.0, "first"),
        Event("order-2", 60 * S, 60 * S, 5.0, "other"),
        Event("order-1", 50 * S, 500 * S, 2.0, "revised"),
    ),
    (
        Ask(KNOWN, "order-1", 100 * S, 1.0, "the revision was not known", leaks=(2.0,)),
        Ask(KNOWN, "order-1", 500 * S - 1, 1.0, "nor a millisecond before it came", leaks=(2.0,)),
        Ask(KNOWN, "order-1", 500 * S, 2.0, "the revision holds from when it came"),
        Ask(KNOWN, "order-1", 600 * S, 2.0, "the revision holds"),
        Ask(KNOWN, "order-2", 600 * S, 5.0, "another order is not revised"),
        Ask(POSITION, "order-1", 100 * S, 1.0, "the answer had applied the first value", leaks=(2.0,), after=1),
        Ask(POSITION, "order-1", 600 * S, 2.0, "the answer had applied the revision", after=3),
        Ask(EVENT, "order-1", 100 * S, 2.0, "in truth it was the revised value"),
        Ask(EVENT, "order-1", 50 * S - 1, None, "nothing had happened", leaks=(1.0, 2.0)),
    ),
)

REVISIONS = 8

REVISED_OFTEN = Trap(
    "many revisions",
    Kind.FACT,
    "A value is revised seven times, a minute apart, for the same event time.",
    tuple(Event("order-1", 50 * S, 60 * S * n, float(n), f"revision {n}") for n in range(1, REVISIONS + 1)),
    (
        *(
            Ask(
                KNOWN,
                "order-1",
                60 * S * n,
                float(n),
                "the newest revision that was known holds",
                leaks=tuple(float(later) for later in range(n + 1, REVISIONS + 1)),
            )
            for n in range(1, REVISIONS + 1)
        ),
        Ask(POSITION, "order-1", 300 * S, 5.0, "the answer had applied five", leaks=(6.0, 7.0, 8.0), after=5),
        Ask(EVENT, "order-1", 55 * S, 8.0, "in truth it was the last revision"),
        Ask(EVENT, "order-1", 400 * S, 8.0, "in truth it was the last revision"),
    ),
)

COMMIT_RACE = Trap(
    "commit race",
    Kind.MEASUREMENT,
    "Two writers: the one that takes its time of creation first commits last.",
    (
        Event("anna", 5 * S, 22 * S, 1.0, "fast", stamped_ms=20 * S),
        Event("anna", 10 * S, 30 * S, 2.0, "slow", stamped_ms=10 * S),
    ),
    (
        Ask(KNOWN, "anna", 25 * S, 1.0, "the slow writer had not committed", leaks=(2.0,)),
        Ask(KNOWN, "anna", 31 * S, 2.0, "the slow writer had committed"),
        Ask(POSITION, "anna", 25 * S, 1.0, "the answer had applied one commit", leaks=(2.0,), after=1),
        Ask(POSITION, "anna", 31 * S, 2.0, "the answer had applied both", after=2),
        Ask(EVENT, "anna", 25 * S, 2.0, "it had happened at 10 s"),
    ),
)

CLOCK_STEP = Trap(
    "clock step",
    Kind.MEASUREMENT,
    "The writer's clock is set back by a minute between two commits.",
    (
        Event("anna", 0, 0, 1.0, "a1"),
        Event("anna", 95 * S, 100 * S, 2.0, "a2"),
        Event("anna", 48 * S, 110 * S, 3.0, "a3", clock_error_ms=-60 * S),
        Event("anna", 49 * S, 111 * S, 4.0, "a4", clock_error_ms=-60 * S),
        Event("anna", 50 * S, 112 * S, 5.0, "a5", clock_error_ms=-60 * S),
        Event("anna", 51 * S, 113 * S, 6.0, "a6", clock_error_ms=-60 * S),
    ),
    (
        Ask(KNOWN, "anna", 60 * S, 1.0, "all others were committed later", leaks=(2.0, 3.0, 4.0, 5.0, 6.0)),
        Ask(KNOWN, "anna", 200 * S, 2.0, "it has the latest event time"),
        Ask(POSITION, "anna", 105 * S, 2.0, "the answer had applied two events", after=2),
        Ask(EVENT, "anna", 60 * S, 6.0, "it had happened at 51 s"),
        Ask(EVENT, "anna", 200 * S, 2.0, "it happened last"),
    ),
)

VERY_INSTANT = Trap(
    "value at the very instant",
    Kind.MEASUREMENT,
    "A value has the instant that is asked for, and the next one is a millisecond later.",
    (Event("anna", 100 * S, 100 * S, 1.0, "a1"), Event("anna", 100 * S + 1, 100 * S + 1, 2.0, "a2")),
    (
        Ask(KNOWN, "anna", 100 * S, 1.0, "an instant includes itself", leaks=(2.0,)),
        Ask(KNOWN, "anna", 100 * S - 1, None, "nothing was known", leaks=(1.0, 2.0)),
        Ask(KNOWN, "anna", 100 * S + 1, 2.0, "the second instant includes itself"),
        Ask(POSITION, "anna", 100 * S, 1.0, "the answer had applied one event", leaks=(2.0,), after=1),
        Ask(EVENT, "anna", 100 * S, 1.0, "an instant includes itself", leaks=(2.0,)),
        Ask(EVENT, "anna", 100 * S - 1, None, "nothing had happened", leaks=(1.0, 2.0)),
        Ask(EVENT, "anna", 100 * S + 1, 2.0, "the second instant includes itself"),
    ),
)

TTL_EDGE = Trap(
    "TTL edge",
    Kind.MEASUREMENT,
    "A value expires by its event time: at 30 minutes it counts, a millisecond later it does not.",
    (Event("anna", 0, 0, 1.0, "a1"), Event("ben", 0, 1_000 * S, 2.0, "b1")),
    (
        Ask(KNOWN, "anna", TTL_MS, 1.0, "it is exactly as old as it may be"),
        Ask(KNOWN, "anna", TTL_MS + 1, None, "it is a millisecond too old"),
        Ask(KNOWN, "ben", TTL_MS, 2.0, "it is exactly as old as it may be"),
        Ask(KNOWN, "ben", TTL_MS + S, None, "it is too old, though it came only 801 s ago"),
        Ask(POSITION, "anna", TTL_MS, 1.0, "it was exactly as old as it may be", after=1),
        Ask(POSITION, "anna", TTL_MS + 1, None, "it was a millisecond too old", after=1),
        Ask(EVENT, "anna", TTL_MS, 1.0, "it is exactly as old as it may be"),
        Ask(EVENT, "ben", TTL_MS + 1, None, "it is a millisecond too old"),
    ),
)

PHONE_AHEAD = Trap(
    "phone's clock ahead",
    Kind.MEASUREMENT,
    "A value names a time 140 s after it was received: the phone's clock is ahead.",
    (
        Event("anna", 0, 0, 1.0, "a1"),
        Event("anna", 240 * S, 100 * S, 2.0, "ahead"),
        Event("anna", 200 * S, 200 * S, 3.0, "a3"),
    ),
    (
        Ask(KNOWN, "anna", 150 * S, 2.0, "it was received at 100 s, and what was served used it"),
        Ask(KNOWN, "anna", 250 * S, 3.0, "it was measured after the value that had come at 100 s"),
        Ask(POSITION, "anna", 150 * S, 2.0, "the answer had applied it", after=2),
        Ask(EVENT, "anna", 150 * S, 2.0, "it cannot have happened after its reception"),
        Ask(EVENT, "anna", 250 * S, 3.0, "it happened last"),
    ),
)

TRAPS_OF_TIME = (BACKFILL, REVISION, REVISED_OFTEN, COMMIT_RACE, CLOCK_STEP, VERY_INSTANT, TTL_EDGE, PHONE_AHEAD)
