"""``make vendor``: fetches the page's libraries from npm again, and checks every byte against the pinned hashes.

Nothing is fetched at install time or at run time: the files are in the repository.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

import msgspec

VENDOR: Final = Path(__file__).resolve().parents[3] / "infrastructure" / "http" / "web" / "vendor"
PINS: Final = VENDOR / "versions.json"


class VendoredFile(msgspec.Struct, rename={"source": "from"}):
    """A file of the package and its name here. ``source`` None: the package lacks it, and it is kept as it is."""

    source: str | None
    to: str
    sha256: str


class VendoredLibrary(msgspec.Struct):
    """A pinned package. ``integrity``: as npm states it, over the whole archive."""

    name: str
    version: str
    licence: str
    integrity: str
    files: list[VendoredFile]


def libraries() -> list[VendoredLibrary]:
    """The pinned libraries."""
    return msgspec.json.decode(PINS.read_bytes(), type=list[VendoredLibrary])


def sha256_of(data: bytes) -> str:
    """The hash in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def fetch(library: VendoredLibrary, folder: Path) -> dict[str, bytes]:
    """The files of a library, by their names here. Raises ValueError if the archive or a file is another one."""
    spec = f"{library.name}@{library.version}"
    done = subprocess.run(["npm", "pack", "--silent", spec], cwd=folder, capture_output=True, text=True, check=True)
    archive = folder / done.stdout.strip().splitlines()[-1]
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != library.integrity:
        raise ValueError(f"{spec}: the archive is not the pinned one: sha512-{digest}")
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as members:
        for file in library.files:
            if file.source is None:
                data = (VENDOR / file.to).read_bytes()
            else:
                member = members.extractfile(f"package/{file.source}")
                data = b"" if member is None else member.read()
            if sha256_of(data) != file.sha256:
                raise ValueError(f"{spec}: {file.source or file.to} is not the pinned file: {sha256_of(data)}")
            found[file.to] = data
    return found


def main() -> int:
    """Write all files. Returns 1 and writes nothing of a library that differs."""
    for library in libraries():
        with tempfile.TemporaryDirectory() as folder:
            try:
                files = fetch(library, Path(folder))
            except (ValueError, OSError, subprocess.CalledProcessError) as error:
                print(error, file=sys.stderr)
                return 1
        for name, data in files.items():
            (VENDOR / name).write_bytes(data)
            print(f"{library.name} {library.version}: {name}, {len(data):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
