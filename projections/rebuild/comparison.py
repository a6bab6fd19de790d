"""Compares two generations shard by shard, at the same fence. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from projections.core.ports import ParkedEvent, ShardDump
from projections.core.projection import Projection
from projections.core.state_codec import BrokenState, decoded

MAX_EXAMPLES = 20
"""Differences that are described. All of them are in the count and in the digest."""


class GenerationDifference(NamedTuple):
    """One key or row that differs between the two; ``words`` describes how."""

    shard: int
    name: str
    words: str


@dataclass
class GenerationComparison:
    """The result of the comparison over all shards. ``live`` and ``new`` are generation numbers.

    ``digests`` maps each shard to (live, new), over everything except the time of parking. ``digest`` covers the
    differences alone: it is what a person accepts.
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
        """The comparison as it is stored and printed as JSON."""
        return asdict(self) | {"examples": [d._asdict() for d in self.examples]}

    def add_shard(self, projection: Projection[Any], shard: int, live: ShardDump, new: ShardDump) -> None:
        """Compare one shard, both sides at the same fence (a fence of None is seq 0)."""
        self.fences[shard] = _seq(new)
        self.keys += len(new.states)
        self.rows += len(new.rows)
        self.parked += len(new.parked)
        self.digests[shard] = (digest(live), digest(new))
        if _seq(live) != _seq(new):
            self._add_difference(shard, "fence", f"live is at {_seq(live)}, new at {_seq(new)}", b"", b"")
        if self.digests[shard][0] == self.digests[shard][1]:
            return
        self._compare_parts(shard, "", live.states, new.states, _describe_state(projection), bytes)
        self._compare_parts(shard, "row ", live.rows, new.rows, _describe_row, bytes)
        self._compare_parts(shard, "parked ", live.parked, new.parked, _describe_parked, _parked_bytes)

    def _compare_parts(
        self,
        shard: int,
        prefix: str,
        live: Mapping[str, Any],
        new: Mapping[str, Any],
        describe: Callable[[Any, Any], str],
        as_bytes: Callable[[Any], bytes],
    ) -> None:
        for name in sorted(live.keys() | new.keys()):
            a = as_bytes(live[name]) if name in live else b""
            b = as_bytes(new[name]) if name in new else b""
            if a != b:
                self._add_difference(shard, prefix + name, describe(live.get(name), new.get(name)), a, b)

    def _add_difference(self, shard: int, name: str, words: str, live: bytes, new: bytes) -> None:
        self.differing += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(GenerationDifference(shard, name, words))
        # Chained, so that the digest takes constant memory. Shards come in order.
        link = hashlib.sha256(self.digest.encode())
        for part in (str(shard).encode(), name.encode(), live, new):
            link.update(len(part).to_bytes(8, "big") + part)
        self.digest = link.hexdigest()[:16]


def digest(dump: ShardDump) -> str:
    """16 hex digits over the content of a shard, without its incarnation and the times of parking."""
    whole = hashlib.sha256()
    parked = {key: _parked_bytes(event) for key, event in dump.parked.items()}
    for part in (dump.states, dump.rows, parked):
        for name, value in sorted(part.items()):
            for piece in (name.encode(), value):
                whole.update(len(piece).to_bytes(8, "big") + piece)
        whole.update(b"|")
    return whole.hexdigest()[:16]


def _seq(dump: ShardDump) -> int:
    return 0 if dump.fence is None else dump.fence.seq


def _parked_bytes(event: ParkedEvent) -> bytes:
    # Without the reason: a fold that only changes its error text still fails at the same event.
    return f"{event.seq} {event.position} {event.version} {event.event_type} {event.kind}".encode()


def _describe_state(projection: Projection[Any]) -> Callable[[bytes | None, bytes | None], str]:
    def describe(live: bytes | None, new: bytes | None) -> str:
        if live is None or new is None:
            return _only_in(live, new)
        try:
            sides = decoded(projection, live), decoded(projection, new)
        except BrokenState as error:  # this code need not be able to read the bytes of another version
            return f"live has {len(live)} bytes, new {len(new)}; not both are readable here ({error})"
        return (
            "; ".join(_differing_fields(*sides))
            or f"the bytes differ, the values do not ({len(live)} and {len(new)} bytes)"
        )

    return describe


def _differing_fields(live: Any, new: Any) -> Iterable[str]:
    if type(live) is type(new) and hasattr(live, "_asdict"):
        a, b = live._asdict(), new._asdict()
        return [f"{name}: live {_short(a[name])}, new {_short(b[name])}" for name in a if a[name] != b[name]]
    return [f"live {_short(live)}, new {_short(new)}"] if live != new else []


def _describe_row(live: bytes | None, new: bytes | None) -> str:
    if live is None or new is None:
        return _only_in(live, new)
    return f"live {_short(live.decode())}, new {_short(new.decode())}"


def _describe_parked(live: ParkedEvent | None, new: ParkedEvent | None) -> str:
    if live is None or new is None:
        event = live or new
        assert event is not None
        return f"{_only_in(live, new)}: at version {event.version}, position {event.position}, {event.reason}"
    return f"live at version {live.version} ({live.kind}), new at version {new.version} ({new.kind})"


def _only_in(live: object, new: object) -> str:
    assert (live is None) != (new is None)
    return "only in the new one" if live is None else "only in the live one"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}…"
