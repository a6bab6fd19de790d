"""The thresholds of completion, each with its origin.

Distances are great-circle distances to the leg's target in whole millimetres, times milliseconds of event time. "Real
drop-offs" are deliveries whose place is known: half of them lie within 38 m of the address, 90 % within 103 m; couriers
stay 37 to 302 s (10 % and 90 %) and walk within 31 m (90 %) of where they stopped.
"""

from __future__ import annotations

from domain.features.completion.track import NO_VALUE

APPROACH_MM = 150_000
"""Within it a rider approaches. Half as much again as the 103 m within which 90 % of real drop-offs lie."""

APPROACH_LEFT_MM = 250_000
"""Beyond it an approach without an arrival has ended (hysteresis): the rider passed by. APPROACH_MM plus the largest
usable accuracy, so that noise alone does not end it."""

ARRIVAL_MM = 40_000
"""Within it a rider may have arrived: the median of real drop-offs, 38 m, rounded up."""

ARRIVAL_PER_ACCURACY_CM = 15
"""Millimetres of radius for each centimetre of accuracy: 1.5 × accuracy, never finer than the fix. Accuracy is a radius
of 68 %; 1.5 times it holds 92 % of the errors of a circular normal."""

ARRIVAL_FIXES = 3
ARRIVAL_MS = 20_000
"""A rest of three fixes and 20 s is an arrival. It is half the shortest usual stay, 37 s; fewer fixes may share one
error, which is correlated over some 20 s (``infrastructure/simulator/gps_noise.py``)."""

REST_MM_S = 1_500
"""Up to 1.5 m/s a rider stands or walks. People walk at 1.4 m/s."""

RIDING_MM_S = 2_500
"""From 2.5 m/s on a rider rides: no one carries food on foot as fast."""

LIGHT_MS = 60_000
"""A rest of less than a minute that ends with a ride to a rest at the target was a traffic light, and no arrival."""

LEFT_MM = 100_000
LEFT_PER_ACCURACY_CM = 30
"""A rider has left beyond 100 m and three times the accuracy: twice the arrival's radius (hysteresis). 100 m is the
distance within which 90 % of real drop-offs lie."""

STAY_MS = 30_000
"""A stay of 30 s, and then leaving, is a delivery done without a button: 90 % of real stays last 37 s or more."""

CONFIRM_MS = 30_000
"""A button confirms a rest, however short, whose last fix is at most this much older than the press."""

WORST_ACCURACY_CM = 5_000
"""A fix that is less accurate than 50 m, or states no accuracy, proves nothing against a rider (the limit that Namma
Yatri uses)."""

USUAL_ACCURACY_CM = 780
"""What a fix without an accuracy is taken for between two fixes: the median of Android phones (MobilityNet)."""

USABLE_ACCURACY_M = 100.0
"""A fix that is less accurate is not used: 1.5 times its accuracy is the radius of the approach itself."""

AGAINST_MM = 500_000
"""A button is against the pings only if they are farther away than this, less 1.5 times their accuracy: five times the
distance within which 90 % of real drop-offs lie."""

AGAINST_WINDOW_MS = 120_000
"""How long before and after a button its pings say where the rider was. A single fix accuses no rider."""

REACH_MM_S = 25_000
"""A rider may have been anywhere that 25 m/s (90 km/h) reach, between two fixes and from a fix to the button."""

IMPOSSIBLE_MM_S = 40_000
"""Above 40 m/s a step is a jump to or from a wrong fix (``domain/features/movement.py``): then nothing is known."""

QUIET_MS = 12_000
"""In a shorter time no rider reaches, at REACH_MM_S, a target that is farther than APPROACH_MM, and comes back."""

STOP_MS = 60_000
"""The stop of a leg is the rest of at most a minute that ends with the button: while the food changes hands."""

FARTHEST_STOP_MM = 5_000_000
"""A stop that is farther from its target says nothing of the target's address."""

FAR_STOP_MM = 103_000
"""Stops beyond the distance within which 90 % of real drop-offs lie are counted by place."""

AFTER_END_MS = 120_000
"""Pings up to two minutes after a button count for its leg: riders press it too early, too."""

MAX_ENDED_LEGS = 20
"""How many ended legs of a rider are kept for late pings: bounds the state (invariant 15)."""


def arrival_radius_mm(accuracy_cm: int) -> int:
    """How far from the target a fix of this accuracy may be and still be at it."""
    return ARRIVAL_MM if accuracy_cm == NO_VALUE else max(ARRIVAL_MM, ARRIVAL_PER_ACCURACY_CM * accuracy_cm)


def left_radius_mm(accuracy_cm: int) -> int:
    """How far from the target a fix of this accuracy has to be to have left it."""
    return LEFT_MM if accuracy_cm == NO_VALUE else max(LEFT_MM, LEFT_PER_ACCURACY_CM * accuracy_cm)


def lower_bound_mm(distance_mm: int, accuracy_cm: int) -> int:
    """The distance less 1.5 times the accuracy: where the rider was at least that far from the target."""
    return distance_mm if accuracy_cm == NO_VALUE else max(0, distance_mm - ARRIVAL_PER_ACCURACY_CM * accuracy_cm)
