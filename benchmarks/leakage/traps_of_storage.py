"""The traps of what stores and pipelines do: deliver twice, correct, remove, redefine, add up, restore, lag."""

from __future__ import annotations

from benchmarks.leakage.history import (
    REFUSE,
    Ask,
    Axis,
    BackUp,
    Detach,
    Event,
    Feature,
    Kind,
    RecomputedRow,
    Redefine,
    Restore,
    S,
    Trap,
)

KNOWN, EVENT, POSITION = Axis.KNOWN, Axis.EVENT, Axis.POSITION

DUPLICATE = Trap(
    "duplicate",
    Kind.MEASUREMENT,
    "A client sends an old value again, because it saw no answer.",
    (
        Event("anna", 10 * S, 10 * S, 1.0, "a1"),
        Event("anna", 20 * S, 20 * S, 2.0, "a2"),
        Event("anna", 10 * S, 30 * S, 1.0, "a1"),
    ),
    (
        Ask(KNOWN, "anna", 40 * S, 2.0, "the repeat is not newer"),
        Ask(KNOWN, "anna", 40 * S, 2.0, "there are two events", feature=Feature.COUNT),
        Ask(POSITION, "anna", 40 * S, 2.0, "the repeat is not newer", after=3),
        Ask(POSITION, "anna", 40 * S, 2.0, "there are two events", after=3, feature=Feature.COUNT),
        Ask(EVENT, "anna", 40 * S, 2.0, "the repeat is not newer"),
        Ask(EVENT, "anna", 40 * S, 2.0, "there are two events", feature=Feature.COUNT),
    ),
)

CORRECTED_LABEL = Trap(
    "correction of a label",
    Kind.LABEL,
    "An alert is confirmed, and the verdict is corrected a quarter of an hour later.",
    (
        Event("rider-7", 100 * S, 200 * S, 1.0, "confirmed"),
        Event("rider-7", 100 * S, 900 * S, 0.0, "cleared"),
    ),
    (
        Ask(KNOWN, "rider-7", 150 * S, None, "no value had been decided", leaks=(1.0, 0.0)),
        Ask(KNOWN, "rider-7", 500 * S, 1.0, "a set made then has the first verdict", leaks=(0.0,)),
        Ask(KNOWN, "rider-7", 1_000 * S, 0.0, "a set made then has the correction"),
        Ask(POSITION, "rider-7", 500 * S, 1.0, "the first verdict was on record", leaks=(0.0,), after=1),
        Ask(POSITION, "rider-7", 1_000 * S, 0.0, "the correction was on record", after=2),
        Ask(EVENT, "rider-7", 150 * S, 0.0, "in truth it is the corrected verdict"),
    ),
)

LATE_LABEL = Trap(
    "label that comes late",
    Kind.OUTCOME,
    "An order is handed over at 800 s, and the phone reports it at 2,000 s. A set is made in between.",
    (
        Event("order-1", 400 * S, 500 * S, 300.0, "handed over"),
        Event("order-2", 800 * S, 2_000 * S, 700.0, "handed over"),
    ),
    (
        Ask(KNOWN, "order-1", 1_000 * S, 300.0, "its hand-over was known"),
        Ask(KNOWN, "order-2", 1_000 * S, None, "the order was still open: its row is censored", leaks=(700.0,)),
        Ask(KNOWN, "order-2", 2_000 * S, 700.0, "the report has come"),
        Ask(POSITION, "order-1", 1_000 * S, 300.0, "its hand-over was on record", after=1),
        Ask(POSITION, "order-2", 1_000 * S, None, "its hand-over was not on record", leaks=(700.0,), after=1),
        Ask(POSITION, "order-2", 2_000 * S, 700.0, "its hand-over was on record", after=2),
    ),
)

DETACHED = Trap(
    "detached beginning of the log",
    Kind.MEASUREMENT,
    "Retention removes the oldest events; a past that needs them is asked for.",
    (
        Event("anna", 0, 0, 1.0, "a1"),
        Event("anna", 1 * S, 1 * S, 2.0, "a2"),
        Detach(),
        Event("carl", 100 * S, 100 * S, 3.0, "c1"),
    ),
    (
        Ask(KNOWN, "anna", 50 * S, REFUSE, "what was known then is gone: unknown is not an answer"),
        Ask(KNOWN, "anna", 200 * S, REFUSE, "its events are gone: unknown is not an answer"),
        Ask(KNOWN, "carl", 200 * S, 3.0, "all of its events are there"),
        Ask(POSITION, "anna", 50 * S, REFUSE, "what the answer had applied is gone", after=2),
        Ask(POSITION, "carl", 200 * S, 3.0, "all of its events are there", after=3),
        Ask(EVENT, "anna", 50 * S, REFUSE, "what had happened then is gone"),
        Ask(EVENT, "carl", 200 * S, 3.0, "all of its events are there"),
    ),
)

CHANGED_FOLD = Trap(
    "changed fold",
    Kind.MEASUREMENT,
    "A second definition of the feature leaves rough values out; the past is wanted under both.",
    (
        Event("anna", 10 * S, 10 * S, 1.0, "a1"),
        Event("anna", 20 * S, 20 * S, 2.0, "a2", rough=True),
        Event("anna", 25 * S, 500 * S, 3.0, "a3"),
        Redefine(
            (
                RecomputedRow("anna", 10 * S, 1_000 * S, 1.0),
                RecomputedRow("anna", 20 * S, 1_000 * S, 1.0),
                RecomputedRow("anna", 25 * S, 1_000 * S, 3.0),
            )
        ),
    ),
    (
        Ask(KNOWN, "anna", 30 * S, 2.0, "what was served was definition 1", leaks=(3.0,)),
        Ask(KNOWN, "anna", 30 * S, 1.0, "what definition 2 would have served", leaks=(3.0,), definition=2),
        Ask(KNOWN, "anna", 600 * S, 3.0, "by then the third value had come", definition=2),
        Ask(POSITION, "anna", 30 * S, 2.0, "the answer was of definition 1", leaks=(3.0,), after=2),
        Ask(POSITION, "anna", 30 * S, 1.0, "definition 2 would have served it", leaks=(3.0,), after=2, definition=2),
        Ask(
            POSITION,
            "anna",
            30 * S,
            REFUSE,
            "definition 2 cannot recompute an answer of definition 1",
            after=2,
            definition=2,
            served_definition=1,
        ),
        Ask(EVENT, "anna", 30 * S, 3.0, "it had happened at 25 s"),
        Ask(EVENT, "anna", 22 * S, 2.0, "it had happened at 20 s", leaks=(3.0,)),
        Ask(EVENT, "anna", 22 * S, 1.0, "definition 2 leaves the rough value out", leaks=(3.0,), definition=2),
    ),
)

FLOAT_ORDER = Trap(
    "float order",
    Kind.MEASUREMENT,
    "The same values are added up in two orders of arrival: 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1.",
    (
        Event("anna", 0, 10 * S, 0.0, "a0"),
        Event("anna", 1 * S, 11 * S, 0.1, "a1"),
        Event("anna", 2 * S, 12 * S, 0.2, "a2"),
        Event("anna", 3 * S, 13 * S, 0.3, "a3"),
        Event("ben", 3 * S, 20 * S, 0.3, "b3"),
        Event("ben", 2 * S, 21 * S, 0.2, "b2"),
        Event("ben", 1 * S, 22 * S, 0.1, "b1"),
        Event("ben", 0, 23 * S, 0.0, "b0"),
    ),
    tuple(
        Ask(axis, entity, 30 * S, 0.6, "the order of arrival is no part of the sum", after=after, feature=Feature.TOTAL)
        for axis, after in ((KNOWN, None), (POSITION, 8), (EVENT, None))
        for entity in ("anna", "ben")
    ),
)

RESTORED = Trap(
    "restored log",
    Kind.MEASUREMENT,
    "The store is restored to a backup. Then another event takes the number of one that is lost.",
    (
        Event("anna", 0, 0, 1.0, "a1"),
        BackUp(),
        Event("anna", 10 * S, 10 * S, 2.0, "lost"),
        Restore(),
        Event("anna", 12 * S, 20 * S, 3.0, "a3"),
    ),
    (
        Ask(POSITION, "anna", 5 * S, 1.0, "its event is in the backup", after=1),
        Ask(POSITION, "anna", 15 * S, REFUSE, "its event is lost, and the number has another one", after=2),
        Ask(POSITION, "anna", 25 * S, 3.0, "it was served after the restore", after=3),
        Ask(KNOWN, "anna", 5 * S, 1.0, "its event is in the backup", leaks=(2.0, 3.0)),
        Ask(KNOWN, "anna", 25 * S, 3.0, "it was recorded after the restore"),
        Ask(EVENT, "anna", 25 * S, 3.0, "it happened last"),
    ),
)

SERVING_BEHIND = Trap(
    "serving behind the log",
    Kind.MEASUREMENT,
    "The store has an event that what serves had not applied yet when it answered.",
    (
        Event("anna", 0, 0, 1.0, "a1"),
        Event("anna", 10 * S, 10 * S, 2.0, "a2"),
        Event("anna", 20 * S, 20 * S, 3.0, "a3"),
    ),
    (Ask(POSITION, "anna", 25 * S, 2.0, "the answer had applied two events", leaks=(3.0,), after=2),),
)

TRAPS_OF_STORAGE = (
    DUPLICATE,
    CORRECTED_LABEL,
    LATE_LABEL,
    DETACHED,
    CHANGED_FOLD,
    FLOAT_ORDER,
    RESTORED,
    SERVING_BEHIND,
)
