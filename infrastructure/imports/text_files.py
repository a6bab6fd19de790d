"""Opens text files as spreadsheets, editors and archivers write them; rejects other kinds with advice."""

from __future__ import annotations

import gzip
import io
import zipfile
from contextlib import ExitStack
from typing import BinaryIO, NamedTuple, cast

PEEKED_BYTES = 64
UTF_8 = "utf-8-sig"
"""UTF-8 with or without a byte order mark."""

_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_BYTE_ORDER_MARKS = (
    # UTF-32 comes first, because its little-endian mark begins with that of UTF-16.
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_AS_CSV = "open it in its own program and save it as CSV (UTF-8)"
_OTHER_KINDS = (
    (b"BZh", "bzip2", "decompress it with bunzip2"),
    (b"\xfd7zXZ\x00", "xz", "decompress it with unxz"),
    (b"\x28\xb5\x2f\xfd", "zstd", "decompress it with unzstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"Rar!", "a rar archive", "unpack it"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook", _AS_CSV),
    (b"PAR1", "Parquet", "convert it to CSV"),
    (b"SQLite format 3\x00", "a SQLite database", "export the table as CSV"),
    (b"%PDF-", "a PDF", "find the data as CSV"),
    (b"<?xml", "XML", "convert it to CSV"),
    (b"<gpx", "GPX", "convert it to CSV"),
)


class UnreadableFile(ValueError):
    """The file is not text that can be read safely. The message says what it is and what to do."""


class TextFile(NamedTuple):
    """``raw`` is the underlying file; its position shows how much has been read."""

    text: io.TextIOWrapper
    raw: BinaryIO


def open_text(raw: io.BufferedReader, stack: ExitStack) -> TextFile:
    """Open the text of a file; ``stack`` closes it. gzip and a zip of one file are read as a stream.

    Invalid UTF-8 is kept as surrogates, so that only that row is rejected and not the file. In UTF-16 and UTF-32 one
    lost byte shifts everything after it, so reading raises UnicodeDecodeError. Raises UnreadableFile, OSError.
    """
    head = raw.peek(PEEKED_BYTES)[:PEEKED_BYTES]
    _check_kind(head)
    binary: io.BufferedReader | gzip.GzipFile | zipfile.ZipExtFile = raw
    if head.startswith(_GZIP):
        unzipped = stack.enter_context(gzip.GzipFile(fileobj=raw))
        head, binary = unzipped.peek(PEEKED_BYTES)[:PEEKED_BYTES], unzipped
    elif head.startswith(_ZIP):
        member = stack.enter_context(_only_member(stack.enter_context(_archive(raw))))
        head, binary = member.peek(PEEKED_BYTES)[:PEEKED_BYTES], member
    _check_kind(head)
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if head.startswith(mark)), UTF_8)
    if encoding == UTF_8 and b"\x00" in head:
        raise UnreadableFile("it is not text in UTF-8 (UTF-16 without a byte order mark?); save it as CSV (UTF-8)")
    errors = "surrogateescape" if encoding == UTF_8 else "strict"
    return TextFile(stack.enter_context(io.TextIOWrapper(binary, encoding=encoding, errors=errors, newline="")), raw)


def _check_kind(head: bytes) -> None:
    for magic, kind, advice in _OTHER_KINDS:
        if head.startswith(magic):
            raise UnreadableFile(f"it is {kind}, not CSV; {advice}")


def _archive(raw: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(raw)
    except zipfile.BadZipFile as error:
        raise UnreadableFile(f"it is a damaged zip archive: {error}") from error


def _only_member(archive: zipfile.ZipFile) -> zipfile.ZipExtFile:
    """Open the only file of an archive as a stream, so that its uncompressed size does not have to fit in memory."""
    names = archive.namelist()
    if "[Content_Types].xml" in names or "mimetype" in names:
        raise UnreadableFile(f"it is a spreadsheet or a document, not CSV; {_AS_CSV}")
    # macOS adds metadata files to an archive; they are not data.
    files = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX/")]
    if len(files) != 1:
        raise UnreadableFile(f"it is a zip archive of {len(files):,} files; unpack it and name the files to import")
    try:
        member = cast("zipfile.ZipExtFile", archive.open(files[0]))
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise UnreadableFile(f"the file in this zip archive cannot be read ({error}); unpack it yourself") from error
    if member.peek(2).startswith((_GZIP, *_ZIP)):
        raise UnreadableFile("it is an archive inside an archive; unpack it")
    return member
