"""Simulates faults that a digest does not show: other behaviour under the name of the pinned code."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def under_the_name_of(pinned: Callable[..., Any], function: F) -> F:
    """Make a digest take ``function`` for ``pinned``, as if a compiler or memory error had changed the behaviour."""
    update_wrapper(function, pinned)
    return function
