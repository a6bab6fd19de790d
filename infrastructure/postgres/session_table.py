"""The table of HTTP sessions, and its queries. It holds hashes only: a copy of it opens no session."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Engine, Index, LargeBinary, Table, text

from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.schema import MILLISECONDS, metadata

# A session of a browser: the hash of its random id, and that of the token whose roles it has.
http_sessions = Table(
    "http_sessions",
    metadata,
    Column("id_hash", LargeBinary, primary_key=True),
    Column("token_hash", LargeBinary, nullable=False),
    Column("expires_at", MILLISECONDS, nullable=False),
    Index("ix_http_sessions_expires_at", "expires_at"),
)

MAX_TOKEN_SESSIONS: Final = 1_000
"""Of each token, those that expire last. A client with a token could else fill the table (invariant 15). A bound for
all tokens together would let it end the sessions of the others."""

_ADD = text(
    "INSERT INTO http_sessions (id_hash, token_hash, expires_at)"
    " VALUES (:id, :token, clock_timestamp() + :seconds * interval '1 second')"
    " RETURNING (extract(epoch FROM expires_at) * 1000)::bigint"
)
_PRUNE = text(
    "DELETE FROM http_sessions WHERE expires_at <= clock_timestamp() OR id_hash IN"
    " (SELECT id_hash FROM http_sessions WHERE token_hash = :token ORDER BY expires_at DESC, id_hash OFFSET :most)"
)
_FIND = text("SELECT token_hash FROM http_sessions WHERE id_hash = :id AND expires_at > clock_timestamp()")
_DELETE = text("DELETE FROM http_sessions WHERE id_hash = :id")


class PostgresSessions:
    """Sessions by the hash of their id. Blocks: call it in a thread. Every method raises PortUnavailable."""

    def __init__(self, engine: Engine, max_token_sessions: int = MAX_TOKEN_SESSIONS) -> None:
        self._engine = engine
        self._max_token_sessions = max_token_sessions

    def add(self, id_hash: bytes, token_hash: bytes, seconds: float) -> int:
        """Store a session that ends in ``seconds``. Returns its end, epoch milliseconds."""
        with unavailable_as_port_error(), self._engine.begin() as connection:
            ends_ms: int = connection.execute(
                _ADD, {"id": id_hash, "token": token_hash, "seconds": seconds}
            ).scalar_one()
            connection.execute(_PRUNE, {"token": token_hash, "most": self._max_token_sessions})
            return ends_ms

    def token_of(self, id_hash: bytes) -> bytes | None:
        """The hash of the session's token; None if there is no such session, or it has ended."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            found = connection.execute(_FIND, {"id": id_hash}).scalar_one_or_none()
            return None if found is None else bytes(found)

    def delete(self, id_hash: bytes) -> None:
        """End a session; one that is unknown is ended already."""
        with unavailable_as_port_error(), self._engine.begin() as connection:
            connection.execute(_DELETE, {"id": id_hash})
