"""Holds two generations of a shard against each other, at the same fence. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from projections.core.ports import ParkedEvent, ShardDump
from projections.core.projection import Projection
from projections.core.state_codec import BrokenState, decoded

MAX_EXAMPLES = 20
"""Differences that are told in words; all of them are in the count and in the digest."""


class GenerationDifference(NamedTuple):
    """One key or row that is not the same in both, in words."""

    shard: int
    name: str
    words: str


@dataclass
class GenerationComparison:
    """What was found over all shards. ``live`` and ``new`` are generation numbers.

    ``digests``: shard -> (live, new), over everything but the time of parking. ``digest`` is of the differences alone:
    it is what a person accepts.
    """

    projection: str
    live: int
    new: int
    live_version: int
    new_version: int
    fences: dict[int, int] = field(default_factory=dict)
    keys: int = 0
    rows: int = 0
    parked: int = 0
    differing: int = 0
    digests: dict[int, tuple[str, str]] = field(default_factory=dict)
    examples: list[GenerationDifference] = field(default_factory=list)
    digest: str = ""

    @property
    def clean(self) -> bool:
        return not self.differing

    def document(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self) | {"examples": [d._asdict() for d in self.examples]}

    def take(self, projection: Projection[Any], shard: int, live: ShardDump, new: ShardDump) -> None:
        """Add one shard, both sides at the same fence (a fence of None is seq 0)."""
        self.fences[shard] = _seq(new)
        self.keys += len(new.states)
        self.rows += len(new.rows)
        self.parked += len(new.parked)
        self.digests[shard] = (digest(live), digest(new))
        if _seq(live) != _seq(new):
            self._differ(shard, "fence", f"live stands at {_seq(live)}, new at {_seq(new)}", b"", b"")
        if self.digests[shard][0] == self.digests[shard][1]:
            return
        self._sides(shard, "", live.states, new.states, _state_words(projection), bytes)
        self._sides(shard, "row ", live.rows, new.rows, _row_words, bytes)
        self._sides(shard, "parked ", live.parked, new.parked, _parked_words, _mark_bytes)

    def _sides(
        self,
        shard: int,
        prefix: str,
        live: Mapping[str, Any],
        new: Mapping[str, Any],
        words: Callable[[Any, Any], str],
        as_bytes: Callable[[Any], bytes],
    ) -> None:
        for name in sorted(live.keys() | new.keys()):
            a = as_bytes(live[name]) if name in live else b""
            b = as_bytes(new[name]) if name in new else b""
            if a != b:
                self._differ(shard, prefix + name, words(live.get(name), new.get(name)), a, b)

    def _differ(self, shard: int, name: str, words: str, live: bytes, new: bytes) -> None:
        self.differing += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(GenerationDifference(shard, name, words))
        # Chained, so that it takes no memory a difference; shards come in order.
        link = hashlib.sha256(self.digest.encode())
        for part in (str(shard).encode(), name.encode(), live, new):
            link.update(len(part).to_bytes(8, "big") + part)
        self.digest = link.hexdigest()[:16]


def digest(snapshot: ShardDump) -> str:
    """16 hex digits over the content of a shard; not over its incarnation, nor over when a key was parked."""
    whole = hashlib.sha256()
    marks = {key: _mark_bytes(mark) for key, mark in snapshot.parked.items()}
    for part in (snapshot.states, snapshot.rows, marks):
        for name, value in sorted(part.items()):
            for piece in (name.encode(), value):
                whole.update(len(piece).to_bytes(8, "big") + piece)
        whole.update(b"|")
    return whole.hexdigest()[:16]


def _seq(snapshot: ShardDump) -> int:
    return 0 if snapshot.fence is None else snapshot.fence.seq


def _mark_bytes(mark: ParkedEvent) -> bytes:
    # A fold that is mended in its words only still fails at the same event.
    return f"{mark.seq} {mark.position} {mark.version} {mark.event_type} {mark.kind}".encode()


def _state_words(projection: Projection[Any]) -> Callable[[bytes | None, bytes | None], str]:
    def words(live: bytes | None, new: bytes | None) -> str:
        if live is None or new is None:
            return _only(live, new)
        try:
            sides = decoded(projection, live), decoded(projection, new)
        except BrokenState as error:  # another version's bytes need not be readable by this one
            return f"live has {len(live)} bytes, new {len(new)}; not both are readable here ({error})"
        return "; ".join(_fields(*sides)) or f"the bytes differ, the values do not ({len(live)} and {len(new)} bytes)"

    return words


def _fields(live: Any, new: Any) -> Iterable[str]:
    if type(live) is type(new) and hasattr(live, "_asdict"):
        a, b = live._asdict(), new._asdict()
        return [f"{name}: live {_short(a[name])}, new {_short(b[name])}" for name in a if a[name] != b[name]]
    return [f"live {_short(live)}, new {_short(new)}"] if live != new else []


def _row_words(live: bytes | None, new: bytes | None) -> str:
    if live is None or new is None:
        return _only(live, new)
    return f"live {_short(live.decode())}, new {_short(new.decode())}"


def _parked_words(live: ParkedEvent | None, new: ParkedEvent | None) -> str:
    if live is None or new is None:
        mark = live or new
        assert mark is not None
        return f"{_only(live, new)}: at version {mark.version}, position {mark.position}, {mark.reason}"
    return f"live at version {live.version} ({live.kind}), new at version {new.version} ({new.kind})"


def _only(live: object, new: object) -> str:
    assert (live is None) != (new is None)
    return "only in the new one" if live is None else "only in the live one"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}…"
