"""What clients ask of the registry in the query, read as leniently as Confluent's does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from litestar import Request

from infrastructure.http.paging import whole_number
from infrastructure.registry.rows import Show

T = TypeVar("T")

_ALL_CONTEXTS = ":*:"


class Asked(NamedTuple):
    """The query of one request. ``limit`` None is without end."""

    show: Show
    permanent: bool
    verbose: bool
    latest_only: bool
    default_to_global: bool
    prefix: str
    offset: int
    limit: int | None

    def part(self, items: Sequence[T]) -> list[T]:
        """The page that was asked for."""
        end = None if self.limit is None else self.offset + self.limit
        return list(items[self.offset : end])


def asked(request: Request[Any, Any, Any]) -> Asked:
    """Raises ApiError 400 for an offset or a limit that is no number."""
    query = request.query_params

    def flag(*names: str) -> bool:
        # Anything but true is false: clients for Python send True and False.
        return any(query.get(name, "").lower() == "true" for name in names)

    # Clients for Java spell it one way, those for Python the other.
    only = flag("deletedOnly", "deleted_only")
    limit = _number(request, "limit", -1)
    return Asked(
        show="deleted" if only else "all" if flag("deleted") else "live",
        permanent=flag("permanent"),
        verbose=flag("verbose"),
        latest_only=flag("latestOnly", "latest_only"),
        default_to_global=flag("defaultToGlobal"),
        prefix=query.get("subjectPrefix", "").removeprefix(_ALL_CONTEXTS),
        offset=max(0, _number(request, "offset", 0)),
        limit=None if limit < 0 else limit,
    )


def _number(request: Request[Any, Any, Any], name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    return whole_number(f"?{name}=", text)
