"""Reads single states of a projection from Redis, and follows its active generation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import redis
from sqlalchemy.exc import SQLAlchemyError

from domain.identifiers import SHARDS, shard_of
from infrastructure.redis.cluster_reads import key_reads
from infrastructure.redis.connection import AsyncRedisClient
from infrastructure.redis.pipelined_reads import KeyReads
from infrastructure.redis.projection_sink import decode_fence
from projections.core.ports import Fence
from read_models.redis_keys import REFOLDING_FIELD, fence_key, state_key

GENERATION_REFRESH_INTERVAL_S = 1.0
"""How long a reader may follow a generation that is no longer active. The old one is kept longer than that."""


class ReadModelUnavailable(Exception):
    """Redis is unavailable, the generation to read is not known yet, or a shard in a refold lacks the key."""


class FoundState(NamedTuple):
    """The state of a key. ``refolding``: the shard has a fence mismatch, and this is what it served before."""

    state: bytes
    generation: int
    refolding: bool = False


class MissingState(NamedTuple):
    """The key has no state in a shard that has folded all events up to ``position``."""

    generation: int
    position: int


class StateReader:
    """Reads states of the active generation. ``active`` reads its number from Postgres.

    While Postgres is unavailable the last known number is used. A shard moves to another generation once the fence of
    that one has reached the fence of the current one. So no answer of this reader is older than an earlier one, even if
    the active generation changes under load.
    """

    def __init__(
        self,
        client: AsyncRedisClient,
        projection: str,
        active: Callable[[], int | None],
        reads: KeyReads | None = None,
    ) -> None:
        """``reads``: for the reads of single states; without it the reader has its own connection."""
        self._client = client
        self._reads = reads or key_reads(client)
        self._projection = projection
        self._active = active
        self._generation: int | None = None
        self._shard_is_on: dict[int, int] = {}
        self._read_at = -GENERATION_REFRESH_INTERVAL_S
        self._refreshing: asyncio.Task[None] | None = None

    async def get(self, key: str) -> FoundState | None:
        """Returns the state of ``key``. None: none of its events is folded. Raises ReadModelUnavailable."""
        generation = await self._current()
        if generation is None:
            return None
        shard = shard_of(key)
        try:
            if self._shard_is_on.setdefault(shard, generation) != generation:
                return await self._moving(key, shard, generation)
            found = await self._reads.execute(
                "HMGET", state_key(self._projection, generation, shard), key, REFOLDING_FIELD
            )
        except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError) as error:
            raise ReadModelUnavailable(f"Redis: {error}") from error
        except UnicodeEncodeError:
            return None  # a lone surrogate: no such key can have been recorded
        return _found(found, generation)

    async def get_with_fence(self, key: str) -> FoundState | MissingState | None:
        """Reads state and fence of a key at one instant, after ``get`` found no state.

        The fence distinguishes a lost state from one that is not folded yet. Returns None if nothing is folded in the
        shard. Raises ReadModelUnavailable, also while the shard is refolded.
        """
        shard = shard_of(key)
        generation = self._shard_is_on.get(shard)
        if generation is None:
            return None
        try:
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.get(fence_key(self._projection, generation, shard))
                pipeline.hmget(state_key(self._projection, generation, shard), key, REFOLDING_FIELD)
                fence, state = await pipeline.execute()
        except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError) as error:
            raise ReadModelUnavailable(f"Redis: {error}") from error
        except UnicodeEncodeError:
            return None  # a lone surrogate: no such key can have been recorded
        # A worker may have written the state, or begun a refold, since ``get``.
        if (found := _found(state, generation)) is not None:
            return found
        folded = decode_fence(fence)
        return None if folded is None else MissingState(generation, folded.position)

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Returns the states of those ``keys`` that have one, with one command a shard. Raises ReadModelUnavailable.

        For answers that show many keys and follow later changes: while the generation changes, some states may be
        older than those of ``get``.
        """
        generation = await self._current()
        if generation is None:
            return {}
        by_shard: dict[int, list[str]] = {}
        for key in keys:
            by_shard.setdefault(shard_of(key), []).append(key)
        answers = await self._read_all(
            [("HMGET", state_key(self._projection, generation, shard), *wanted) for shard, wanted in by_shard.items()]
        )
        found = (
            (key, state)
            for wanted, states in zip(by_shard.values(), answers, strict=True)
            for key, state in zip(wanted, states, strict=True)
        )
        return {key: state for key, state in found if state is not None}

    async def sample(self, most: int) -> dict[str, bytes]:
        """Returns the states of about ``most`` keys, of each shard as many; of all keys if there are fewer.

        Raises ReadModelUnavailable.
        """
        generation = await self._current()
        if generation is None:
            return {}
        count = str(max(1, most // SHARDS))
        answers = await self._read_all(
            [("HSCAN", state_key(self._projection, generation, shard), "0", "COUNT", count) for shard in range(SHARDS)]
        )
        found: dict[str, bytes] = {}
        for _, fields in answers:
            found |= {
                key.decode(): state
                for key, state in zip(fields[::2], fields[1::2], strict=True)
                if key != REFOLDING_FIELD.encode()
            }
        return found

    async def generation(self) -> int | None:
        """Returns the generation that is read; None before the projection first ran. Raises ReadModelUnavailable."""
        return await self._current()

    async def aclose(self) -> None:
        """Close the connection of the reads. The client remains open."""
        await self._reads.aclose()

    async def _read_all(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """The answers, once all have come: none is left waiting when another fails. Raises ReadModelUnavailable."""
        answers = await self._reads.execute_all(commands)
        for answer in answers:
            if isinstance(answer, redis.ConnectionError | redis.TimeoutError | redis.ResponseError):
                raise ReadModelUnavailable(f"Redis: {answer}") from answer
            if isinstance(answer, BaseException):
                raise answer
        return answers

    async def _moving(self, key: str, shard: int, to: int) -> FoundState | None:
        old = self._shard_is_on[shard]
        async with self._client.pipeline(transaction=False) as pipeline:
            # In this order: every earlier answer from the old generation is covered by its fence as read here.
            for generation in (old, to):
                pipeline.get(fence_key(self._projection, generation, shard))
                pipeline.hmget(state_key(self._projection, generation, shard), key, REFOLDING_FIELD)
            fence, state, new_fence, new_state = await pipeline.execute()
        if _has_reached(decode_fence(new_fence), decode_fence(fence)):
            self._shard_is_on[shard] = to
            # The state was read after the fence, so it is at least as new as the fence.
            return _found(new_state, to)
        return _found(state, old)

    async def _current(self) -> int | None:
        if time.monotonic() - self._read_at >= GENERATION_REFRESH_INTERVAL_S and self._refreshing is None:
            self._refreshing = asyncio.ensure_future(self._refresh())
        if self._generation is None and self._refreshing is not None:
            await asyncio.shield(self._refreshing)
        return self._generation

    async def _refresh(self) -> None:
        try:
            found = await asyncio.to_thread(self._active)
            self._generation = found if found is not None else self._generation
            self._read_at = time.monotonic()
        except SQLAlchemyError as error:
            if self._generation is None:
                raise ReadModelUnavailable(f"Postgres: {str(error).splitlines()[0]}") from error
            self._read_at = time.monotonic()
        finally:
            self._refreshing = None


def _found(read: Sequence[object], generation: int) -> FoundState | None:
    """Converts the state and the refold marker in ``read``. Raises ReadModelUnavailable if the key may be missing."""
    state, marker = read
    if state is not None:
        assert isinstance(state, bytes)  # the client decodes nothing
        return FoundState(state, generation, marker is not None)
    if marker is not None:
        # It is unknown whether the log has this key: the shard had a fence mismatch, and its refold has not ended.
        raise ReadModelUnavailable("this part of the read model is folded again from the log, and the key is not in it")
    return None


def _has_reached(new: Fence | None, old: Fence | None) -> bool:
    if old is None:
        return True  # the old generation was dropped or emptied
    return new is not None and (new.log_id != old.log_id or new.seq >= old.seq)
