"""Makes named tuples where a fold makes one for every ping."""

from __future__ import annotations

from typing import Final

new_tuple: Final = tuple.__new__
"""``new_tuple(Class, values)`` makes a named tuple of all its fields in half the time of a call of its class.

A default is not filled in, and a wrong number of values is not noticed: the folds' tests compare decoded states.
"""
