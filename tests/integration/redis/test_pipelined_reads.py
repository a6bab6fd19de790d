"""Many reads over one connection to Redis: their order, their errors, and connections that end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import hiredis
import pytest
import redis
import redis.asyncio

from infrastructure.redis.connection import connect_server, connect_server_async
from infrastructure.redis.pipelined_reads import PipelinedReads

T = TypeVar("T")


def run(url: str, body: Callable[[PipelinedReads], Awaitable[T]], timeout_s: float = 5.0) -> T:
    async def in_a_loop() -> T:
        client = connect_server_async(url)
        reads = PipelinedReads(client, timeout_s)
        try:
            return await body(reads)
        finally:
            await reads.aclose()
            await client.aclose()

    return asyncio.run(in_a_loop())


def kill_connections(url: str) -> None:
    client = connect_server(url)
    client.client_kill_filter(skipme=True)
    client.close()


def test_each_of_many_reads_at_once_gets_its_own_answer(redis_url: str) -> None:
    client = connect_server(redis_url)
    client.hset("riders", mapping={f"rider-{n}": f"state {n}" for n in range(500)})
    client.close()

    async def body(reads: PipelinedReads) -> list[Any]:
        return await asyncio.gather(*(reads.execute("HMGET", "riders", f"rider-{n}", "") for n in range(500)))

    assert run(redis_url, body) == [[f"state {n}".encode(), None] for n in range(500)]


def test_a_rejected_command_fails_alone(redis_url: str) -> None:
    client = connect_server(redis_url)
    client.set("text", "x")
    client.close()

    async def body(reads: PipelinedReads) -> list[Any]:
        commands = [("GET", "text"), ("HMGET", "text", "a"), ("GET", "text")]
        return await asyncio.gather(*(reads.execute(*command) for command in commands), return_exceptions=True)

    first, rejected, last = run(redis_url, body)
    assert (first, last) == (b"x", b"x")
    assert isinstance(rejected, redis.ResponseError)
    assert "WRONGTYPE" in str(rejected)


def test_a_cancelled_read_does_not_shift_the_answers_of_others(redis_url: str) -> None:
    client = connect_server(redis_url)
    client.mset({"a": "1", "b": "2"})
    client.close()

    async def body(reads: PipelinedReads) -> Any:
        await reads.execute("GET", "a")
        cancelled = asyncio.ensure_future(reads.execute("GET", "a"))
        kept = asyncio.ensure_future(reads.execute("GET", "b"))
        await asyncio.sleep(0)
        cancelled.cancel()
        return await kept

    assert run(redis_url, body) == b"2"


def test_a_read_after_the_server_has_closed_the_connection_opens_another(redis_url: str) -> None:
    async def body(reads: PipelinedReads) -> Any:
        await reads.execute("GET", "a")
        kill_connections(redis_url)
        return await reads.execute("ECHO", "still here")

    assert run(redis_url, body) == b"still here"


def test_reads_that_wait_while_the_connection_ends_are_sent_once_more(redis_url: str) -> None:
    """The first command waits for an element, and all later ones of the connection wait behind it."""
    other = connect_server(redis_url)

    async def body(reads: PipelinedReads) -> list[Any]:
        await reads.execute("GET", "a")
        waiting = [asyncio.ensure_future(reads.execute("BLPOP", "queue", "0"))]
        waiting += [asyncio.ensure_future(reads.execute("ECHO", str(n))) for n in range(3)]
        while not other.info("clients")["blocked_clients"]:
            await asyncio.sleep(0)
        kill_connections(redis_url)
        other.rpush("queue", "pushed")
        return await asyncio.gather(*waiting)

    assert run(redis_url, body) == [[b"queue", b"pushed"], b"0", b"1", b"2"]
    other.close()


def test_invariant_15_a_server_that_does_not_answer_fails_every_waiting_read(redis_url: str) -> None:
    async def body(reads: PipelinedReads) -> list[Any]:
        await reads.execute("GET", "a")
        waiting = [reads.execute("BLPOP", "queue", "0"), reads.execute("GET", "a")]
        failed = await asyncio.gather(*waiting, return_exceptions=True)
        return [*failed, await reads.execute("ECHO", "again")]

    *failed, last = run(redis_url, body, timeout_s=0.3)
    assert [type(error) for error in failed] == [redis.TimeoutError] * 2
    assert last == b"again"


def test_many_commands_at_once_are_answered_in_order_and_a_rejected_one_fails_alone(redis_url: str) -> None:
    client = connect_server(redis_url)
    client.mset({"a": "1", "b": "2"})
    client.close()

    async def body(reads: PipelinedReads) -> list[Any]:
        return await reads.execute_all([("GET", "a"), ("HMGET", "a", "b"), ("GET", "b"), ("MGET", "b", "no", "a")])

    first, rejected, *others = run(redis_url, body)
    assert [first, *others] == [b"1", b"2", [b"2", None, b"1"]]
    assert isinstance(rejected, redis.ResponseError)


def test_many_commands_whose_connection_ends_are_sent_once_more(redis_url: str) -> None:
    """Given commands of which the first waits for an element, when the connection ends, then all are answered."""
    other = connect_server(redis_url)

    async def body(reads: PipelinedReads) -> list[Any]:
        waiting = asyncio.ensure_future(reads.execute_all([("BLPOP", "queue", "0"), ("ECHO", "1"), ("ECHO", "2")]))
        while not other.info("clients")["blocked_clients"]:
            await asyncio.sleep(0)
        kill_connections(redis_url)
        other.rpush("queue", "pushed")
        return [await waiting, await reads.execute_all([])]

    assert run(redis_url, body) == [[[b"queue", b"pushed"], b"1", b"2"], []]
    other.close()


def test_many_commands_that_no_server_answers_are_answered_by_its_error(redis_url: str, tmp_path: Path) -> None:
    async def body(reads: PipelinedReads) -> list[Any]:
        return await reads.execute_all([("BLPOP", "queue", "0"), ("GET", "a")])

    assert [type(error) for error in run(redis_url, body, timeout_s=0.3)] == [redis.TimeoutError] * 2
    gone = run(f"unix://{tmp_path}/no.sock", body)
    assert len(gone) == 2
    assert all(isinstance(error, redis.ConnectionError | redis.TimeoutError) for error in gone)


def test_without_a_server_a_read_reports_that_it_is_unavailable(tmp_path: Path) -> None:
    async def body(reads: PipelinedReads) -> Any:
        return await reads.execute("GET", "a")

    with pytest.raises((redis.ConnectionError, redis.TimeoutError)):
        run(f"unix://{tmp_path}/no.sock", body)


def test_invariant_16_bytes_that_are_no_answer_end_the_connection_with_a_clear_error(tmp_path: Path) -> None:
    """The requests of one connection could otherwise get the answers of others."""
    path = tmp_path / "fake.sock"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader()
        while data := await reader.read(65536):
            parser.feed(data)
            while (command := parser.gets()) is not False:
                writer.write(b"\x00nonsense\r\n" if command[0] == b"GET" else b"+OK\r\n")
        writer.close()

    async def in_a_loop() -> None:
        async with await asyncio.start_unix_server(serve, path):
            client = connect_server_async(f"unix://{path}?protocol=2")
            reads = PipelinedReads(client)
            try:
                with pytest.raises(redis.ConnectionError, match="not an answer of Redis"):
                    await reads.execute("GET", "a")
            finally:
                await reads.aclose()
                await client.aclose()

    asyncio.run(in_a_loop())
