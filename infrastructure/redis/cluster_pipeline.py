"""Commands for a Redis Cluster that are queued and sent together, and scripts, which each node gets when it needs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, Self

import redis


class QueuedCommand(NamedTuple):
    """A command, and the text of its script if it is one: a node may not have the script yet."""

    words: tuple[Any, ...]
    script: str = ""


class CommandRunner(Protocol):
    """Sends commands to the nodes that serve their keys: ``infrastructure.redis.cluster_client.ClusterClient``."""

    def run(self, commands: Sequence[QueuedCommand]) -> list[Any]:
        """The answer to each command; an error of the server is an answer."""
        ...

    def run_transaction(self, commands: Sequence[QueuedCommand]) -> list[Any]:
        """The answers to commands that one node runs at one instant."""
        ...


class ClusterPipeline:
    """Commands that are queued, and sent by ``execute``."""

    def __init__(self, client: CommandRunner, transaction: bool) -> None:
        self._client = client
        self._transaction = transaction
        self._queued: list[QueuedCommand] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._queued = []

    def queue(self, command: QueuedCommand) -> Self:
        self._queued.append(command)
        return self

    def get(self, name: str) -> Self:
        return self.queue(QueuedCommand(("GET", name)))

    def hmget(self, name: str, keys: Sequence[str]) -> Self:
        return self.queue(QueuedCommand(("HMGET", name, *keys)))

    def hgetall(self, name: str) -> Self:
        return self.queue(QueuedCommand(("HGETALL", name)))

    def hlen(self, name: str) -> Self:
        return self.queue(QueuedCommand(("HLEN", name)))

    def hkeys(self, name: str) -> Self:
        return self.queue(QueuedCommand(("HKEYS", name)))

    def unlink(self, *names: str) -> Self:
        return self.queue(QueuedCommand(("UNLINK", *names)))

    def delete(self, *names: str) -> Self:
        return self.queue(QueuedCommand(("DEL", *names)))

    def execute(self) -> list[Any]:
        """Send what is queued. Returns the answers in its order.

        Raises:
            redis.ResponseError: the first one among the answers; the other commands were run.
            redis.ConnectionError, redis.TimeoutError: a node does not answer.
            CrossSlotCommand: a command or transaction has keys in several slots; nothing was sent.
        """
        queued, self._queued = self._queued, []
        if not queued:
            return []
        if self._transaction:
            return self._client.run_transaction(queued)
        answers = self._client.run(queued)
        for answer in answers:
            if isinstance(answer, redis.ResponseError):
                raise answer
        return answers


class ClusterScript:
    """A Lua script. A node without it gets it: scripts are not replicated, so a promoted replica has none."""

    def __init__(self, client: CommandRunner, script: str) -> None:
        self._client = client
        self._script = script
        self._sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, keys: Sequence[str], args: Iterable[Any] = (), client: ClusterPipeline | None = None) -> Any:
        """Run the script, or queue it in the pipeline ``client``. Raises as ``ClusterPipeline.execute``."""
        command = QueuedCommand(("EVALSHA", self._sha, len(keys), *keys, *args), self._script)
        if client is not None:
            return client.queue(command)
        [answer] = ClusterPipeline(self._client, transaction=False).queue(command).execute()
        return answer
