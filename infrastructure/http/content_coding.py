"""Decodes the content codings of request bodies (RFC 9110, 8.4): log shippers and phones send gzip."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from infrastructure.http.errors import ApiError

ACCEPTED_CODINGS: Final = "gzip, deflate"
MAX_PIECE_BYTES: Final = 256 * 1024
"""Inflated in one step, which takes less than a millisecond. The event loop serves other requests between steps."""

MAX_GZIP_MEMBERS: Final = 1_000
"""The limit for one body. Each member takes time, also an empty one, and 8 MiB can hold 400,000 of them."""

_INPUT_BYTES: Final = 64 * 1024
_NAMES: Final = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}


def coding_of(values: Sequence[str]) -> str | None:
    """The coding that the headers Content-Encoding name, if any.

    Raises ApiError 415, with the header Accept-Encoding, for an unsupported coding and for more than one.
    """
    named = [name for value in values for part in value.split(",") if (name := part.strip().lower())]
    codings = [name for name in named if name != "identity"]
    if not codings:
        return None
    if len(codings) == 1 and codings[0] in _NAMES:
        return _NAMES[codings[0]]
    detail = f"a body may have one Content-Encoding of {ACCEPTED_CODINGS}, or none; this one has {', '.join(codings)}"
    raise ApiError(415, "unsupported_content_encoding", detail[:300], {"Accept-Encoding": ACCEPTED_CODINGS})


class Inflater:
    """Inflates a body of one coding as it arrives. The caller bounds the total size."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._decoder: zlib._Decompress | None = None
        self._head = b""  # the start of a deflate body whose form is not known yet
        self._members = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Pieces of at most MAX_PIECE_BYTES. Raises ApiError 400 if the body is damaged."""
        for start in range(0, len(data), _INPUT_BYTES):
            rest = data[start : start + _INPUT_BYTES]
            while rest:
                decoder, rest = self._decoder_for(rest)
                if decoder is None:
                    break
                try:
                    piece = decoder.decompress(rest, MAX_PIECE_BYTES)
                except zlib.error as error:
                    raise self._damaged(str(error).partition(": ")[2] or str(error)) from error
                if piece:
                    yield piece
                rest = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
        # The decoder may still hold output after it has taken all input.
        while self._decoder is not None and not self._decoder.eof:
            piece = self._decoder.decompress(b"", MAX_PIECE_BYTES)
            if not piece:
                break
            yield piece

    def finish(self) -> None:
        """Raises ApiError 400 unless the body is complete."""
        if self._decoder is None or not self._decoder.eof:
            raise self._damaged("it ends early")

    def _decoder_for(self, data: bytes) -> tuple[zlib._Decompress | None, bytes]:
        """The decoder of ``data`` and its input; None while too little has arrived to choose a decoder."""
        if self._decoder is not None and not self._decoder.eof:
            return self._decoder, data
        if self._decoder is not None and self._coding == "deflate":
            raise self._damaged("more data follows its end")
        if self._members == MAX_GZIP_MEMBERS:
            raise self._damaged(f"it has more than {MAX_GZIP_MEMBERS} members")
        window_bits = 16 + zlib.MAX_WBITS
        if self._coding == "deflate":
            data = self._head + data
            if len(data) < 2:
                self._head = data
                return None, b""
            # RFC 9110 means the zlib form. Some senders omit its header.
            is_zlib = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2]) % 31 == 0
            window_bits = zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS
        self._members += 1
        self._decoder = zlib.decompressobj(window_bits)
        return self._decoder, data

    def _damaged(self, what: str) -> ApiError:
        detail = f"the body is not the {self._coding} that Content-Encoding says: {what}; nothing was recorded"
        return ApiError(400, "damaged_content_encoding", detail)
