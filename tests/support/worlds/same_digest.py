"""Faults that a digest does not show: other behaviour under the name of the code that was pinned."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def under_the_name_of(pinned: Callable[..., Any], function: F) -> F:
    """``function``, which a digest takes for ``pinned``: as if a compiler or the memory had changed what it does."""
    update_wrapper(function, pinned)
    return function
