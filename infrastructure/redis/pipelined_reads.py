"""Sends the reads of all requests over one connection to Redis, without waiting for the answers of earlier ones."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Protocol, cast

import hiredis
import redis
import redis.asyncio

READ_TIMEOUT_S: Final = 5.0
"""A server that does not answer for so long is given up, with every read that waits for it."""

CONNECT_TIMEOUT_S: Final = 5.0
"""For the whole of a connection attempt, with the client's own retries: requests wait for it (invariant 15)."""

_INCOMPLETE: Final = object()


class KeyReads(Protocol):
    """Single reads of one event loop: of one server (``PipelinedReads``), or of a cluster (``ClusterReads``)."""

    async def execute(self, *command: str) -> Any:
        """The answer to one command, whose second word is its key, with text as bytes.

        Raises:
            redis.ConnectionError, redis.TimeoutError: the server is unavailable.
            redis.ResponseError: the server rejects the command.
        """
        ...

    async def execute_all(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """The answers to many commands, in their order; an exception that ``execute`` raises is an answer here."""
        ...

    async def aclose(self) -> None:
        """Close the connections. Reads that wait for an answer fail."""
        ...


class PipelinedReads:
    """Reads of one event loop. The commands of one turn of the loop go out in one write, in order.

    A client of redis-py borrows a connection for each command, and parses and times each answer by itself: three
    quarters of the cost of a read. The number of waiting reads is bounded by that of the HTTP connections.
    """

    def __init__(self, client: redis.asyncio.Redis, timeout_s: float = READ_TIMEOUT_S) -> None:
        """``client`` opens the connections, with its address, credentials, TLS and database."""
        self._client = client
        self._timeout_s = timeout_s
        self._line: _Line | None = None
        self._opening: asyncio.Task[_Line] | None = None

    async def execute(self, *command: str) -> Any:
        """The answer to one command, with text as bytes.

        A read whose connection ends before the answer is sent once more: Redis closes idle connections, and restarts.

        Raises:
            redis.ConnectionError, redis.TimeoutError: the server is unavailable.
            redis.ResponseError: the server rejects the command.
        """
        packed = hiredis.pack_command(cast("Any", command))
        line = self._line
        if line is None or line.ended:
            line = await self._open()
        try:
            return await line.request(packed)
        except redis.ConnectionError:
            return await (await self._open()).request(packed)

    async def execute_all(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """The answers to many commands, in their order; an exception that ``execute`` raises is an answer here.

        One write and one future for all. A future for each command costs twice that, and a task for each eight times.
        """
        packed = [hiredis.pack_command(cast("Any", tuple(command))) for command in commands]
        try:
            answers = await self._request_all(packed)
            if not any(isinstance(answer, redis.ConnectionError) for answer in answers):
                return answers
            return await self._request_all(packed)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            return [error] * len(packed)

    async def _request_all(self, packed: Sequence[bytes]) -> list[Any]:
        line = self._line
        if line is None or line.ended:
            line = await self._open()
        return await line.request_all(packed)

    async def aclose(self) -> None:
        """Close the connection. Reads that wait for an answer fail."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        if self._line is not None:
            await self._line.aclose()

    async def _open(self) -> _Line:
        if self._line is not None and not self._line.ended:
            return self._line
        opening = self._opening
        if opening is None:
            opening = self._opening = asyncio.ensure_future(self._connect())
        try:
            # Shielded: the end of one request must not end the attempt that others wait for.
            return await asyncio.shield(opening)
        except asyncio.CancelledError as error:
            if not opening.cancelled() or (task := asyncio.current_task()) is None or task.cancelling():
                raise
            # ``aclose`` ended the attempt, and not the request that waits for it.
            raise redis.ConnectionError("the connection is closed") from error

    async def _connect(self) -> _Line:
        pool: Any = self._client.connection_pool
        connection = pool.make_connection()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await connection.connect()
        except TimeoutError as error:
            await connection.disconnect(nowait=True)
            raise redis.TimeoutError(f"no connection within {CONNECT_TIMEOUT_S:g} s") from error
        finally:
            self._opening = None
        self._line = _Line(connection, self._timeout_s)
        return self._line


class _JoinedAnswers:
    """Takes the answers of many commands as a future takes one, and gives them to ``future`` together."""

    def __init__(self, future: asyncio.Future[list[Any]], count: int) -> None:
        self.future = future
        self._count = count
        self._answers: list[Any] = []
        if count == 0:
            future.set_result([])

    def done(self) -> bool:
        """Whether no answer is waited for any more, as after a cancellation."""
        return self.future.done()

    def set_result(self, answer: Any) -> None:
        """Take the next answer, which may be an error."""
        self._answers.append(answer)
        if len(self._answers) == self._count:
            self.future.set_result(self._answers)

    set_exception = set_result

    def end(self, error: redis.RedisError) -> None:
        """Take ``error`` as every answer that is left."""
        while not self.done():
            self.set_result(error)


class _Line(asyncio.Protocol):
    """One connection. Answers arrive in the order of the requests (RESP, section "Request-Response model")."""

    def __init__(self, connection: Any, timeout_s: float) -> None:
        """``connection``: of redis-py, connected and logged in. From here on this object reads its socket."""
        self.ended = False
        self._timeout_s = timeout_s
        self._connection = connection
        self._waiting: deque[tuple[asyncio.Future[Any] | _JoinedAnswers, float]] = deque()
        self._replies = hiredis.Reader(redis.InvalidResponse, redis.ResponseError, notEnoughData=_INCOMPLETE)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport = connection._writer.transport
        self._transport.set_protocol(self)
        if self._transport.is_closing():
            # It ended before this protocol could learn of it.
            self.connection_lost(None)

    def request(self, packed: bytes) -> asyncio.Future[Any]:
        """Send a command. Returns the future of its answer."""
        future = self._loop.create_future()
        if self.ended:
            future.set_exception(redis.ConnectionError("the connection has ended"))
        else:
            self._waiting.append((future, self._loop.time()))
            self._send(packed)
        return future

    def request_all(self, packed: Sequence[bytes]) -> asyncio.Future[list[Any]]:
        """Send commands in one write. Returns the future of their answers; an error of one is its answer."""
        batch = _JoinedAnswers(self._loop.create_future(), len(packed))
        if self.ended:
            batch.end(redis.ConnectionError("the connection has ended"))
        elif packed:
            self._waiting.extend([(batch, self._loop.time())] * len(packed))
            self._send(b"".join(packed))
        return batch.future

    def _send(self, packed: bytes) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._check_oldest)
        self._transport.write(packed)

    async def aclose(self) -> None:
        """Close the connection. Waiting reads fail."""
        self._end(redis.ConnectionError("the connection is closed"))
        await self._connection.disconnect(nowait=True)

    def data_received(self, data: bytes) -> None:
        replies = self._replies
        replies.feed(data)
        try:
            while (reply := replies.gets()) is not _INCOMPLETE:
                if isinstance(reply, hiredis.PushNotification):
                    continue  # a message of the server that answers no request
                future, _ = self._waiting.popleft()
                if future.done():
                    continue  # its request was cancelled
                if isinstance(reply, Exception):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        except (redis.InvalidResponse, IndexError) as error:
            # Which answer belongs to which request is no longer known.
            self._end(redis.ConnectionError(f"not an answer of Redis: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(redis.ConnectionError(f"the connection has ended: {exc or 'closed by the server'}"))

    def _check_oldest(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        left_s = self._waiting[0][1] + self._timeout_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._check_oldest)
        else:
            self._end(redis.TimeoutError(f"no answer within {self._timeout_s:g} s"))

    def _end(self, error: redis.RedisError) -> None:
        self.ended = True
        self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)
